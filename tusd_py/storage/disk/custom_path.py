"""A path in the disk store's directory that a hook chose for one upload. All calls block; run them in threads.

A path is reserved for its upload until that upload is deleted, even if its file was moved away meanwhile: deleting an
upload, perhaps for the second time, must never remove another upload's file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from tusd_py.contracts.store import BytesMoved, PathTaken
from tusd_py.model.ids import is_storage_path
from tusd_py.storage.disk.directory import (
    DIRECTORY_MODE,
    SAFELY,
    UploadDirectory,
    open_regular,
    regular_bytes,
    unlinked,
)

# Holds a symbolic link per reserved path, named by the path's digest, with the upload's id and the path as its target
# (older ones have the id only): a link is created or refused in one step. No custom path begins with a dot.
_RESERVATIONS = ".claims"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCKED = frozenset({errno.ENOTDIR, errno.ELOOP, errno.EISDIR})


class CustomPath:
    """The ``FileLocation`` of one upload at a path of its own. No symbolic link along the path is followed."""

    def __init__(self, directory: UploadDirectory, path: str) -> None:
        if not is_storage_path(path):
            raise ValueError("not a path within the store")
        self._directory = directory
        self._path = path
        *self._parents, self._name = path.split("/")
        self._reservation = sha256(path.encode()).hexdigest()

    def reserve(self, upload_id: str) -> None:
        """Reserve the path and create an empty file there. Raises ``PathTaken``; nothing is left then.

        Continues an earlier attempt for the same upload: its reservation, and a file whose bytes do not count.
        """
        is_new = self._reserve_for(upload_id)
        try:
            with self._parent(make=True) as parent:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY
                os.close(os.open(self._name, flags, self._directory.file_mode, dir_fd=parent))
                os.fsync(parent)
        except OSError as error:
            if isinstance(error, FileExistsError) and not is_new:
                return
            if is_new:
                self._release()
            if isinstance(error, FileExistsError) or error.errno in _BLOCKED:
                raise PathTaken(f"something else is at {self._path}") from error
            raise

    def open_for_writing(self, upload_id: str, offset: int) -> tuple[int, int]:
        try:
            with self._parent() as parent:
                return open_regular(self._name, os.O_WRONLY, parent)
        except FileNotFoundError:
            if offset:
                raise
        self.reserve(upload_id)
        return self.open_for_writing(upload_id, offset)

    def open_for_reading(self, upload_id: str) -> tuple[int, int]:
        try:
            with self._parent() as parent:
                return open_regular(self._name, os.O_RDONLY, parent)
        except FileNotFoundError as error:
            raise BytesMoved("the file of this upload is gone") from error

    def open_concatenation(self, upload_id: str) -> int:
        return self._directory.open_concatenation(upload_id)

    def commit_concatenation(self, upload_id: str) -> None:
        with self._parent(make=True) as parent:
            self._directory.rename_concatenation(upload_id, self._name, parent)
            os.fsync(parent)
        self._directory.sync()

    def discard_concatenation(self, upload_id: str) -> None:
        """Empty the upload's file and remove the temporary one. The path stays reserved."""
        self._directory.remove_temporary(upload_id)
        with self._parent(make=True) as parent:
            try:
                descriptor, _ = open_regular(self._name, os.O_WRONLY | os.O_TRUNC, parent)
            except FileNotFoundError:
                return
            os.close(descriptor)

    def delete(self, upload_id: str, is_final: bool = True) -> None:
        """See ``FileLocation.delete``. Does nothing at a path that is not, or no longer, reserved for this upload."""
        if is_final:
            self._directory.remove_temporary(upload_id)
        if self._reserved_for() != upload_id:
            return
        try:
            with self._parent() as parent:
                if unlinked(self._name, parent):
                    # Before the reservation goes: after a loss of power the file would belong to no upload.
                    os.fsync(parent)
        except FileNotFoundError:
            pass  # a directory along the path is gone, and the file with it
        self._release()

    def size(self, upload_id: str) -> int:
        try:
            with self._parent() as parent:
                return regular_bytes(os.stat(self._name, dir_fd=parent, follow_symlinks=False))
        except FileNotFoundError:
            return 0

    def changed_since(self, before: float) -> bool:
        """Whether the file is there and has changed since ``before`` (a Unix time), or cannot be looked at."""
        try:
            with self._parent() as parent:
                return os.stat(self._name, dir_fd=parent, follow_symlinks=False).st_mtime >= before
        except OSError as error:
            return error.errno != errno.ENOENT

    def sync(self) -> None:
        with self._parent() as parent:
            os.fsync(parent)

    @contextmanager
    def _parent(self, *, make: bool = False) -> Iterator[int]:
        """A descriptor of the file's directory, opened step by step from the store's own directory."""
        current = os.dup(self._directory.descriptor)
        try:
            for name in self._parents:
                if make:
                    _make_directory(name, current)
                inner = os.open(name, _DIRECTORY, dir_fd=current)
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)

    def _reserve_for(self, upload_id: str) -> bool:
        """Reserve the path. Return whether the reservation is new. Raises ``PathTaken``."""
        _make_directory(_RESERVATIONS, self._directory.descriptor)
        with open_reservations(self._directory) as reservations:
            try:
                os.symlink(f"{upload_id}/{self._path}", self._reservation, dir_fd=reservations)
            except FileExistsError:
                if (owner_id := self._reserved_for()) != upload_id:
                    raise PathTaken(f"{self._path} is reserved for upload {owner_id}", owner_id) from None
                return False
            os.fsync(reservations)
            return True

    def _reserved_for(self) -> str | None:
        try:
            with open_reservations(self._directory) as reservations:
                return os.readlink(self._reservation, dir_fd=reservations).partition("/")[0]
        except FileNotFoundError:
            return None

    def _release(self) -> None:
        with open_reservations(self._directory) as reservations:
            if unlinked(self._reservation, reservations):
                os.fsync(reservations)


def read_reservations(directory: UploadDirectory) -> Iterator[tuple[str, str, float]]:
    """The upload's id, the path and the time (Unix) of each reservation; the path is empty if an old version made it.

    Raises ``OSError``.
    """
    try:
        with open_reservations(directory) as reservations, os.scandir(reservations) as entries:
            for entry in entries:
                if entry.is_symlink():
                    upload_id, _, path = os.readlink(entry.name, dir_fd=reservations).partition("/")
                    yield upload_id, path, entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return


@contextmanager
def open_reservations(directory: UploadDirectory) -> Iterator[int]:
    descriptor = os.open(_RESERVATIONS, _DIRECTORY, dir_fd=directory.descriptor)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _make_directory(name: str, parent: int) -> None:
    """Create a directory if it is missing; a loss of power does not undo it."""
    try:
        os.mkdir(name, DIRECTORY_MODE, dir_fd=parent)
    except FileExistsError:
        return
    os.fsync(parent)
