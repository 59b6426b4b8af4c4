"""Finds files in the disk store's directory that a crash may have left. All calls block; run them in threads.

Only names that this server gives are looked at, and those of uploads whose id a hook chose: they are marked, since an
operator's own files could have such names.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Generator
from contextlib import suppress

from tusd_py.model.ids import is_storage_path, is_upload_id
from tusd_py.storage.disk.chosen_ids import read_marks, unmark
from tusd_py.storage.disk.custom_path import CustomPath, read_reservations
from tusd_py.storage.disk.directory import UploadDirectory, exists

_OWN_NAME = re.compile(r"([0-9a-f]{32})|\.([0-9a-f]{32})\.joining")


def old_ids(directory: UploadDirectory, before: float) -> Generator[str, None, None]:
    """The ids of uploads whose file, temporary file or reserved path did not change since ``before`` (a Unix time).

    An id may come twice. Raises ``OSError``.
    """
    with os.scandir(directory.descriptor) as entries:
        for entry in entries:
            found = _OWN_NAME.fullmatch(entry.name)
            if found and _is_older(entry.name, directory.descriptor, before):
                upload_id = found[1] or found[2]
                # tusd keeps this file beside each upload: the directory is, or was, one of tusd's.
                if not exists(f"{upload_id}.info", directory.descriptor):
                    yield upload_id
    for upload_id, marked_at in read_marks(directory):
        if marked_at < before and is_upload_id(upload_id) and not _is_newer(upload_id, directory.descriptor, before):
            yield upload_id
    for upload_id, path, changed_at in read_reservations(directory):
        if changed_at < before and is_storage_path(path) and not CustomPath(directory, path).changed_since(before):
            yield upload_id


def remove(directory: UploadDirectory, upload_id: str) -> None:
    """Remove everything that is stored for ``upload_id``; a path is removed if it is reserved for it."""
    for owner_id, path, _ in list(read_reservations(directory)):
        if owner_id == upload_id and is_storage_path(path):
            CustomPath(directory, path).delete(upload_id)
    directory.delete(upload_id)
    unmark(directory, upload_id)


def _is_newer(name: str, parent: int, before: float) -> bool:
    """Whether ``name`` has changed since ``before``, or is not a file of an upload; False if it does not exist."""
    return exists(name, parent) and not _is_older(name, parent, before)


def _is_older(name: str, parent: int, before: float) -> bool:
    with suppress(FileNotFoundError):
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        return stat.S_ISREG(status.st_mode) and status.st_mtime < before
    return False
