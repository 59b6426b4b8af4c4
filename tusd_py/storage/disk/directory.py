"""What the disk store does to one directory, in plain calls that block. Nothing here awaits; it is run in threads."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from tusd_py.contracts.store import BytesMissing, StoreError, StoreFull, StoreUnavailable
from tusd_py.model.ids import is_upload_id

#: Only the server, and the group an administrator gives it, may look in.
DIRECTORY_MODE = 0o750

#: Where less is free, the next batch of some upload is about to fail.
ROOM_BYTES_MIN = 4 * 1024 * 1024

# O_NOFOLLOW and O_NONBLOCK: a symbolic link or a pipe planted under an id is refused, never followed or waited on.
SAFELY = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def store_error(error: OSError) -> StoreError:
    """What an error of the file system means to the contract."""
    if error.errno in _FULL:
        return StoreFull("the disk has no room left")
    return StoreUnavailable(f"the disk failed: {error.strerror or error}")


class Folder:
    """One directory whose files bear the ids of uploads, held open. Raises ``OSError`` where nothing else is said."""

    def __init__(self, path: Path, file_mode: int) -> None:
        self.path = path
        self.file_mode = file_mode
        path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def open_for_writing(self, upload_id: str, offset: int) -> tuple[int, int]:
        """A descriptor of the upload's file, and how many bytes it holds.

        At offset 0 the file is made if there is none; further on it must exist: a hole would read as zeros.
        """
        name = _checked(upload_id)
        if offset == 0:
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY
                return os.open(name, flags, self.file_mode, dir_fd=self.descriptor), 0
            except FileExistsError:
                pass  # what an earlier request, or a crash, left of it
        return open_regular(name, os.O_WRONLY, self.descriptor)

    def open_for_reading(self, upload_id: str) -> tuple[int, int]:
        """A descriptor of the upload's file, and how many bytes it holds. Raises ``BytesMissing`` if it is gone."""
        try:
            return open_regular(_checked(upload_id), os.O_RDONLY, self.descriptor)
        except FileNotFoundError as error:
            raise BytesMissing("the file of this upload is gone") from error

    def open_for_joining(self, upload_id: str) -> int:
        """A descriptor of an empty file that bears no id until ``adopt`` gives it this one."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | SAFELY
        return os.open(_joining(upload_id), flags, self.file_mode, dir_fd=self.descriptor)

    def adopt(self, upload_id: str) -> None:
        """Give the joined file its id, in place of whatever bore it, so that a loss of power leaves the name."""
        self.move_joined(upload_id, _checked(upload_id), self.descriptor)
        self.sync()

    def move_joined(self, upload_id: str, name: str, parent: int) -> None:
        """Give the joined file this name in the directory ``parent``, in place of whatever bore it."""
        os.rename(_joining(upload_id), name, src_dir_fd=self.descriptor, dst_dir_fd=parent)

    def erase(self, upload_id: str) -> None:
        """Remove the upload's file and what a join left of it, so that a loss of power does not bring them back."""
        erased = [unlinked(name, self.descriptor) for name in (_checked(upload_id), _joining(upload_id))]
        if any(erased):
            self.sync()

    def clear(self, upload_id: str) -> None:
        """Leave no bytes of an upload that could not be joined; it may be tried again."""
        self.erase(upload_id)

    def drop_joining(self, upload_id: str) -> None:
        """Remove what a join left that never came to its end."""
        unlinked(_joining(upload_id), self.descriptor)

    def stored_size(self, upload_id: str) -> int:
        """How long the upload's file is; 0 if there is none."""
        try:
            found = os.stat(_checked(upload_id), dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return 0
        return regular_bytes(found)

    def sync(self) -> None:
        """Make the names in the directory survive the loss of power."""
        os.fsync(self.descriptor)

    def probe(self) -> None:
        """Return if a file can be made and written here now. Raises ``StoreError`` with a sentence otherwise."""
        opened, there = os.fstat(self.descriptor), self.path.stat()
        if (opened.st_dev, opened.st_ino) != (there.st_dev, there.st_ino):
            raise StoreUnavailable(f"{self.path} is no longer the directory this server opened; restart it")
        room = os.statvfs(self.descriptor)
        if room.f_bavail * room.f_frsize < ROOM_BYTES_MIN:
            raise StoreFull(f"less than {ROOM_BYTES_MIN >> 20} MiB is free in {self.path}")
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
    """A descriptor of the plain file ``name`` in the directory ``parent``, and how many bytes it holds."""
    descriptor = os.open(name, access | SAFELY, dir_fd=parent)
    try:
        return descriptor, regular_bytes(os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise


def unlinked(name: str, parent: int) -> bool:
    """Remove ``name`` from the directory ``parent``; whether it was there."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return False
    return True


def _checked(upload_id: str) -> str:
    """The id itself: checked once more here, since it becomes a file name."""
    if not is_upload_id(upload_id):
        raise ValueError("not the id of an upload")
    return upload_id


def _joining(upload_id: str) -> str:
    """A name that no id can be: ids have no dot."""
    return f".{_checked(upload_id)}.joining"


def regular_bytes(found: os.stat_result) -> int:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "what bears the id of this upload is no regular file")
    return found.st_size
