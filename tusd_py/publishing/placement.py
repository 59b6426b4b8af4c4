"""Puts a file into a directory whole or not at all, and never over another. Plain calls that block; run in threads."""

from __future__ import annotations

import errno
import glob
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

_FOLDER_MODE = 0o755
# The file system cannot give this file a second name; then it is copied.
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})


class Placement:
    """What is done for one upload in ``directory``. Raises ``OSError``.

    A copy is made under a name that nobody looks at, which stays until ``cleanup``: by it the upload knows its own
    place again after a crash. A link knows it by the file that it shares.
    """

    def __init__(self, directory: Path, upload_id: str) -> None:
        self._directory = directory
        self._copy = directory / f".{upload_id}.published"
        # One for each try: two workers may be at it, if the first has lost its lease and does not know yet.
        self._partial = directory / f".{upload_id}.{secrets.token_hex(4)}.partial"
        self._partials = f".{glob.escape(upload_id)}.*.partial"
        self._descriptor = -1

    def prepare(self) -> bool:
        """Make the directory if it is missing; whether a copy of an earlier try is there, and whole."""
        self._directory.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        return self._copy.exists()

    def open_copy(self) -> None:
        """Make an empty file to copy into."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(self._partial, flags, 0o644)

    def write_copy(self, piece: bytes) -> None:
        """Add all of ``piece`` to the copy."""
        view = memoryview(piece)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def finish_copy(self) -> None:
        """The bytes are all there: make them durable, then call the copy whole, unless another worker's is already."""
        os.fsync(self._descriptor)
        try:
            # Unlike a rename, this never takes the place of a copy that may be published by now.
            os.link(self._partial, self._copy, follow_symlinks=False)
        except FileExistsError:
            return

    def close_copy(self) -> None:
        """Let go of the copy; one that is not finished is removed."""
        if self._descriptor != -1:
            os.close(self._descriptor)
            self._descriptor = -1
            self._partial.unlink(missing_ok=True)

    def link(self, source: Path) -> bool:
        """Have the copy be a second name of ``source``; False where the file system cannot."""
        try:
            os.link(source, self._copy, follow_symlinks=False)
        except FileExistsError:
            return True
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return False
        return True

    def publish(self, names: Iterator[str]) -> str:
        """Give the whole copy the first of ``names`` that is free, or is its own already; return that name."""
        for name in names:
            target = self._directory / name
            target.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            try:
                # Unlike a rename, this never takes another's name.
                os.link(self._copy, target, follow_symlinks=False)
            except FileExistsError:
                if not _is_same(self._copy, target):
                    continue
            for folder in (target.parent, *target.parent.parents):
                _sync(folder)
                if folder == self._directory:
                    break
            return name
        raise AssertionError("there is always another name")

    def cleanup(self) -> None:
        """Remove what was kept for another try."""
        self._copy.unlink(missing_ok=True)
        for partial in self._directory.glob(self._partials):
            partial.unlink(missing_ok=True)


def _is_same(one: Path, other: Path) -> bool:
    a, b = os.lstat(one), os.lstat(other)
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
