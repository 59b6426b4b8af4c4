"""Exclusive locks on single bytes of a few files, kept by the kernel. Nothing here waits for a lock."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

from tusd_py.contracts.locker import LocksUnavailable

# struct flock: type, whence, start, length, process id (0), padding.
_FLOCK = struct.Struct("hhqqi0q")
_OFD_SETLK: int | None = getattr(fcntl, "F_OFD_SETLK", None)  # Linux

# The kernel keeps the locks of a file in a list: with 10,000 of them in one, each call took 150 microseconds.
_FILES = 16


class LockFiles:
    """The lock files of a directory, kept open. A lock is one byte of one of them, named by a hexadecimal key.

    The kernel unlocks every byte when the process dies, however it dies. No file is made or removed for a lock, and
    nothing is read or written. On Linux the locks belong to this object's open files, so that two such objects exclude
    each other in one process too; elsewhere they belong to the process, which loses all locks of a file when it closes
    any descriptor of it.
    """

    def __init__(self, directory: Path, *, ofd_command: int | None = _OFD_SETLK) -> None:
        self._ofd_command = ofd_command
        self._paths = [str(directory / f"uploads-{number:x}.lock") for number in range(_FILES)]
        self._identities: list[tuple[int, int]] = []
        self._descriptors: list[int] = []
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            for path in self._paths:
                self._descriptors.append(os.open(path, flags, 0o600))
                self._identities.append(_identity(os.fstat(self._descriptors[-1])))
        except OSError:
            self.close()
            raise

    def try_lock(self, key: str) -> bool:
        """Lock the byte of ``key`` if it is free; return whether it is locked by this call.

        Raises ``LocksUnavailable``, also if the file was removed or replaced: a lock on a file without a name would
        exclude no process that has started since. The check costs a microsecond.
        """
        number = int(key[0], 16)
        try:
            is_same = _identity(os.stat(self._paths[number])) == self._identities[number]
        except OSError:
            is_same = False
        if not is_same:
            raise LocksUnavailable(f"{self._paths[number]} was removed or replaced while in use; restart the server")
        try:
            self._set(fcntl.F_WRLCK, fcntl.LOCK_EX | fcntl.LOCK_NB, key)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise LocksUnavailable(f"the system cannot lock uploads: {error.strerror}") from error
        return True

    def unlock(self, key: str) -> None:
        """Unlock the byte of ``key``. Raises ``OSError``; it stays locked then."""
        """Unlock the byte of ``key``, which this object has locked."""
        self._set(fcntl.F_UNLCK, fcntl.LOCK_UN, key)

    def close(self) -> None:
        """Close the files, which unlocks every byte."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()

    def _set(self, kind: int, flags: int, key: str) -> None:
        descriptor = self._descriptors[int(key[0], 16)]
        position = int(key[1:], 16)
        if self._ofd_command is None:
            fcntl.lockf(descriptor, flags, 1, position, os.SEEK_SET)
        else:
            fcntl.fcntl(descriptor, self._ofd_command, _FLOCK.pack(kind, os.SEEK_SET, position, 1, 0))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
