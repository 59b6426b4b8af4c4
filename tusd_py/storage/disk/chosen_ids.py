"""Marks of the uploads whose id a hook chose, without a path. All calls block; run them in threads.

The file of such an upload has a name that an operator's own file could have as well. The mark, which is made before the
file, tells them apart: a file without a mark is never overwritten by a new upload, nor removed as a leftover.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tusd_py.contracts.store import PathTaken
from tusd_py.storage.disk.directory import DIRECTORY_MODE, SAFELY, UploadDirectory, exists, unlinked

# Holds an empty file per upload, with its id as the name. No id begins with a dot.
_MARKS = ".chosen"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def mark(directory: UploadDirectory, upload_id: str) -> None:
    """Mark ``upload_id`` before its file is made. Raises ``PathTaken`` if there is a file of this name without a mark.

    A marked file is left by a creation that crashed; its bytes do not count.
    """
    directory.ensure_usable(upload_id)
    with suppress(FileExistsError):
        os.mkdir(_MARKS, DIRECTORY_MODE, dir_fd=directory.descriptor)
    with _open_marks(directory) as marks:
        try:
            os.close(os.open(upload_id, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY, 0o600, dir_fd=marks))
        except FileExistsError:
            return
        if exists(upload_id, directory.descriptor):
            unlinked(upload_id, marks)
            raise PathTaken(f"a file that belongs to no upload is at {upload_id}")


def unmark(directory: UploadDirectory, upload_id: str) -> None:
    """Remove the mark, if there is one, once the file is gone."""
    with suppress(FileNotFoundError), _open_marks(directory) as marks:
        unlinked(upload_id, marks)


def read_marks(directory: UploadDirectory) -> Iterator[tuple[str, float]]:
    """The id and the time (Unix) of each mark. Raises ``OSError``."""
    with suppress(FileNotFoundError), _open_marks(directory) as marks, os.scandir(marks) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                yield entry.name, entry.stat(follow_symlinks=False).st_mtime


@contextmanager
def _open_marks(directory: UploadDirectory) -> Iterator[int]:
    descriptor = os.open(_MARKS, _DIRECTORY, dir_fd=directory.descriptor)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
