"""Places a file into a directory atomically, never replacing another. All calls block; run them in threads."""

from __future__ import annotations

import errno
import glob
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

_DIRECTORY_MODE = 0o755
# The file system cannot link this file; it is copied instead.
_CANNOT_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})


class Placement:
    """The steps of publishing one upload into ``directory``. Each raises ``OSError``.

    The file first gets a hidden name, by a copy or a link, which is kept until ``cleanup``. After a crash, a public
    name that is the same file as the hidden one is recognised as this upload's own.
    """

    def __init__(self, directory: Path, upload_id: str) -> None:
        self._directory = directory
        self._copy = directory / f".{upload_id}.published"
        # One for each attempt: two workers may copy at once, if the first has lost its lease and not noticed yet.
        self._partial = directory / f".{upload_id}.{secrets.token_hex(4)}.partial"
        self._partials = f".{glob.escape(upload_id)}.*.partial"
        self._descriptor = -1

    def prepare(self) -> bool:
        """Create the directory if needed. Return whether an earlier attempt has left a complete copy or link."""
        self._directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        return self._copy.exists()

    def open_copy(self) -> None:
        """Create an empty file to copy into."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(self._partial, flags, 0o644)

    def write_copy(self, chunk: bytes) -> None:
        """Append ``chunk`` to the copy."""
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def finish_copy(self) -> None:
        """Make the complete copy durable and give it the hidden name, unless another worker's copy has it already."""
        os.fsync(self._descriptor)
        try:
            # Unlike a rename, a link never replaces the other copy, which may be published by now.
            os.link(self._partial, self._copy, follow_symlinks=False)
        except FileExistsError:
            return

    def close_copy(self) -> None:
        """Close the copy and remove its temporary name."""
        if self._descriptor != -1:
            os.close(self._descriptor)
            self._descriptor = -1
            self._partial.unlink(missing_ok=True)

    def link(self, source: Path) -> bool:
        """Link ``source`` under the hidden name. Return ``False`` if the file system cannot."""
        try:
            os.link(source, self._copy, follow_symlinks=False)
        except FileExistsError:
            return True
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            return False
        return True

    def publish(self, names: Iterator[str]) -> str:
        """Publish under the first of ``names`` that is unused or already this upload's own; return it."""
        for name in names:
            target = self._directory / name
            target.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            try:
                # Unlike a rename, a link never replaces an existing file.
                os.link(self._copy, target, follow_symlinks=False)
            except FileExistsError:
                if not _is_same(self._copy, target):
                    continue
            for directory in (target.parent, *target.parent.parents):
                _sync(directory)
                if directory == self._directory:
                    break
            return name
        raise AssertionError("names never end")

    def cleanup(self) -> None:
        """Remove the hidden name and copies of interrupted attempts."""
        self._copy.unlink(missing_ok=True)
        for partial in self._directory.glob(self._partials):
            partial.unlink(missing_ok=True)


def _is_same(one: Path, other: Path) -> bool:
    a, b = os.lstat(one), os.lstat(other)
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
