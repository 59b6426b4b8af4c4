"""The disk store's directory and its files, which are named by upload ids. All calls block; run them in threads."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from tusd_py.contracts.store import BytesMoved, PathTaken, StoreError, StoreFull, StoreUnavailable
from tusd_py.model.ids import is_upload_id

#: Only the server, and the group an administrator gives the directory, may look into it.
DIRECTORY_MODE = 0o750

#: With less free space the next batch of some upload is likely to fail.
AVAILABLE_BYTES_MIN = 4 * 1024 * 1024

# O_NOFOLLOW and O_NONBLOCK: a symbolic link or a pipe planted under an id is refused, never followed or waited on.
SAFELY = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def store_error(error: OSError) -> StoreError:
    """Return what an error of the file system is in terms of the contract."""
    if error.errno in _FULL:
        return StoreFull("the disk has no space left")
    return StoreUnavailable(f"the disk failed: {error.strerror or error}")


class FileLocation(Protocol):
    """Where the file of one upload is kept, and how it gets there. Methods raise ``OSError`` unless they say more."""

    def open_for_writing(self, upload_id: str, offset: int) -> tuple[int, int]:
        """Return a descriptor of the upload's file and its length in bytes.

        At offset 0 a missing file is created; further on it must exist, since a hole would read as zeros.
        """
        ...

    def open_for_reading(self, upload_id: str) -> tuple[int, int]:
        """Return a descriptor of the upload's file and its length in bytes. Raises ``BytesMoved`` if it is gone."""
        ...

    def open_concatenation(self, upload_id: str) -> int:
        """Return a descriptor of an empty temporary file, which becomes the upload's by ``commit_concatenation``."""
        ...

    def commit_concatenation(self, upload_id: str) -> None:
        """Put the temporary file in the place of the upload's file; a loss of power does not undo it."""
        ...

    def discard_concatenation(self, upload_id: str) -> None:
        """Leave no bytes of an upload that could not be concatenated; it may be tried again."""
        ...

    def delete(self, upload_id: str, is_final: bool = True) -> None:
        """Remove the upload's file, if any, and with ``is_final`` the temporary file of its concatenation.

        A loss of power does not bring them back. Uploads that are not final have no temporary file.
        """
        ...

    def size(self, upload_id: str) -> int:
        """Return the length of the upload's file in bytes; 0 if there is none."""
        ...

    def sync(self) -> None:
        """Make the name of the upload's file survive a loss of power."""
        ...


class UploadDirectory:
    """One directory, held open, as the ``FileLocation`` of every upload: the file's name is the upload's id."""

    def __init__(self, path: Path, file_mode: int) -> None:
        self.path = path
        self.file_mode = file_mode
        path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def ensure_usable(self, upload_id: str) -> None:
        """Raise ``PathTaken`` if the name of this upload is that of a directory, which a custom path has made."""
        with suppress(FileNotFoundError):
            status = os.stat(_checked(upload_id), dir_fd=self.descriptor, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise PathTaken(f"something else is at {upload_id}")

    def open_for_writing(self, upload_id: str, offset: int) -> tuple[int, int]:
        name = _checked(upload_id)
        if offset == 0:
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY
                return os.open(name, flags, self.file_mode, dir_fd=self.descriptor), 0
            except FileExistsError:
                pass  # left by an earlier request, or a crash
        return open_regular(name, os.O_WRONLY, self.descriptor)

    def open_for_reading(self, upload_id: str) -> tuple[int, int]:
        try:
            return open_regular(_checked(upload_id), os.O_RDONLY, self.descriptor)
        except FileNotFoundError as error:
            raise BytesMoved("the file of this upload is gone") from error

    def open_concatenation(self, upload_id: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | SAFELY
        return os.open(_temporary(upload_id), flags, self.file_mode, dir_fd=self.descriptor)

    def commit_concatenation(self, upload_id: str) -> None:
        self.rename_concatenation(upload_id, _checked(upload_id), self.descriptor)
        self.sync()

    def rename_concatenation(self, upload_id: str, name: str, parent: int) -> None:
        """Rename the temporary file to ``name`` in the directory ``parent``, replacing what has that name."""
        os.rename(_temporary(upload_id), name, src_dir_fd=self.descriptor, dst_dir_fd=parent)

    def discard_concatenation(self, upload_id: str) -> None:
        self.delete(upload_id)

    def remove_temporary(self, upload_id: str) -> None:
        """Remove the temporary file of a concatenation that never finished, if there is one."""
        unlinked(_temporary(upload_id), self.descriptor)

    def delete(self, upload_id: str, is_final: bool = True) -> None:
        removed = unlinked(_checked(upload_id), self.descriptor)
        if is_final:
            removed = unlinked(_temporary(upload_id), self.descriptor) or removed
        if removed:
            self.sync()

    def size(self, upload_id: str) -> int:
        try:
            status = os.stat(_checked(upload_id), dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return 0
        # The directory of a custom path may have taken the name of an upload that has ended.
        return 0 if stat.S_ISDIR(status.st_mode) else regular_bytes(status)

    def sync(self) -> None:
        os.fsync(self.descriptor)

    def available_bytes(self) -> int:
        """How many bytes can be written until ``AVAILABLE_BYTES_MIN`` are left."""
        space = os.statvfs(self.descriptor)
        return space.f_bavail * space.f_frsize - AVAILABLE_BYTES_MIN

    def probe(self) -> None:
        """Return if a file can be created and written here now. Raises ``StoreError`` with the reason otherwise."""
        opened, present = os.fstat(self.descriptor), self.path.stat()
        if (opened.st_dev, opened.st_ino) != (present.st_dev, present.st_ino):
            raise StoreUnavailable(f"{self.path} is no longer the directory this server opened; restart it")
        if self.available_bytes() <= 0:
            raise StoreFull(f"less than {AVAILABLE_BYTES_MIN >> 20} MiB is free in {self.path}")
        name = f".probe-{os.getpid()}"
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | SAFELY, 0o600, dir_fd=self.descriptor)
        try:
            os.pwrite(descriptor, bytes(1), 0)
        finally:
            os.close(descriptor)
            unlinked(name, self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)


def open_regular(name: str, access: int, parent: int) -> tuple[int, int]:
    """Return a descriptor of the regular file ``name`` in the directory ``parent`` and its length in bytes."""
    descriptor = os.open(name, access | SAFELY, dir_fd=parent)
    try:
        return descriptor, regular_bytes(os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise


def regular_bytes(status: os.stat_result) -> int:
    """Return the length of a regular file. Raises ``OSError`` for anything else."""
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "the upload's name belongs to something that is no regular file")
    return status.st_size


def exists(name: str, parent: int) -> bool:
    """Whether the directory ``parent`` (a descriptor) has an entry of this name; a link is not followed."""
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def unlinked(name: str, parent: int) -> bool:
    """Remove ``name`` from the directory ``parent``. Return whether it existed."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return False
    return True


def _checked(upload_id: str) -> str:
    """Return the id itself, checked once more because it becomes a file name."""
    if not is_upload_id(upload_id):
        raise ValueError("not the id of an upload")
    return upload_id


def _temporary(upload_id: str) -> str:
    """The name of an unfinished concatenation. No id can equal it: ids have no dot."""
    return f".{_checked(upload_id)}.joining"
