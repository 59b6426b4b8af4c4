"""Checks of validation and publishing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tusd_py.commands.checks.directories import is_writable, nearest_existing
from tusd_py.commands.checks.result import Check
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.contracts.validator import ValidatorUnavailable
from tusd_py.settings import Settings
from tusd_py.wiring.processing import ensure_libmagic, try_publishing
from tusd_py.wiring.stores import try_bucket_publishing


def check_processing(settings: Settings) -> Iterator[Check]:
    """Whether libmagic is there if a rule needs it, and uploads can be published."""
    rules = settings.validation.rules if settings.validation.enabled or settings.validation.early else ()
    if any(rule.allowed_types or rule.type_agrees for rule in rules):
        try:
            ensure_libmagic()
        except ValidatorUnavailable as error:
            yield Check(False, str(error))
        else:
            yield Check(True, "libmagic is available to detect the types of uploads")
    if settings.publishing.bucket is not None:
        yield _publishing_bucket(settings)
    elif settings.publishing.directory:
        directory = Path(settings.publishing.directory)
        existing = nearest_existing(directory)
        if not is_writable(existing):
            yield Check(
                False, f"publishing.directory {directory} cannot be written to: {existing} is not a writable directory"
            )
        else:
            yield _placing(directory)


def _publishing_bucket(settings: Settings) -> Check:
    target = settings.publishing.directory
    try:
        failure = try_bucket_publishing(settings)
    except StoreUnavailable as error:
        failure = str(error)
    if failure:
        return Check(False, f"nothing can be published in {target}: {failure}")
    return Check(True, f"uploads are published in {target}")


def _placing(directory: Path) -> Check:
    """Whether files can be published into ``directory``, or into its nearest parent until it exists."""
    state = "is writable" if directory.exists() else "will be created"
    try:
        how = try_publishing(nearest_existing(directory))
    except OSError as error:
        return Check(False, f"nothing can be published in {directory}: {error.strerror}")
    return Check(True, f"the directory of published uploads {directory} {state}: {how}")
