"""Checks of where uploads are stored: the data directory, or the bucket."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tusd_py.commands.checks.directories import is_writable, nearest_existing
from tusd_py.commands.checks.result import Check, warning
from tusd_py.commands.file_ownership import of_other_owners, unwritable
from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.store import StoreError, StoreUnavailable
from tusd_py.model.text import valid_unicode
from tusd_py.settings import Settings
from tusd_py.wiring.store_marks import mark_problem
from tusd_py.wiring.stores import describe_bucket, try_store

#: With less free space the disk store refuses every upload.
_FREE_BYTES_MIN = 4 * 1024**2
_FREE_BYTES_WARNING = 1024**3


def check_data_dir(settings: Settings) -> Iterator[Check]:
    """Whether the data directory can be written to, and has space."""
    if settings.storage.kind == "memory":
        yield warning("uploads are stored in memory and lost when the server stops")
        return
    data_dir = Path(settings.storage.data_dir)
    existing = nearest_existing(data_dir)
    if not is_writable(existing):
        yield Check(False, f"storage.data_dir {data_dir} cannot be written to: {existing} is not a writable directory")
        return
    state = "exists" if data_dir.exists() else "will be created"
    problems = list(unwritable(data_dir))
    yield from (Check(False, problem) for problem in problems)
    if not problems:
        yield Check(True, f"the data directory {data_dir} {state}")
    yield from map(warning, of_other_owners(settings))
    path = str(data_dir.absolute())
    if valid_unicode(path) != path:
        yield warning(f"{path} is not UTF-8: in the JSON of hooks its bytes that are not become U+FFFD")
    # With S3 only records and locks are here, and no upload takes space.
    if settings.storage.kind == "disk":
        yield _free_space(settings, data_dir, shutil.disk_usage(existing).free)


def check_bucket(settings: Settings) -> Iterator[Check]:
    """Whether the bucket can be written to, and which functions its service lacks."""
    if settings.storage.kind != "s3":
        return
    try:
        failure, lacking = try_store(settings)
    except StoreUnavailable as error:
        yield Check(False, str(error))
        return
    bucket = describe_bucket(settings)
    yield Check(False, f"{bucket}: {failure}") if failure else Check(True, f"{bucket} can be written to")
    for each in lacking:
        yield warning(f"{bucket}: {each}")


def check_store_mark(settings: Settings) -> Iterator[Check]:
    """Whether the store is the one of the records. What cannot be reached has a line of its own already."""
    try:
        sentence = mark_problem(settings)
    except (OSError, RecordsError, StoreError):
        return
    if sentence:
        yield Check(False, sentence)


def _free_space(settings: Settings, data_dir: Path, free: int) -> Check:
    length_max = settings.uploads.length_max
    free_text = f"{free / 1024**3:.1f} GiB are free in {data_dir}"
    if free < _FREE_BYTES_MIN:
        return Check(False, f"{free_text}: every upload would be answered 507; free some space")
    if free < length_max:
        return warning(f"{free_text}, less than one upload of uploads.length_max: clients get 507 when it is full")
    if free < _FREE_BYTES_WARNING:
        return warning(f"{free_text}, which is little: clients get 507 when it is full")
    return Check(True, free_text)
