"""Exclusive locks on single bytes of a few files, kept by the kernel. Nothing here waits for a lock."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from pathlib import Path

from tusd_py.contracts.locker import LocksUnavailable

# struct flock: type, whence, start, length, process id (0), padding.
_FLOCK = struct.Struct("hhqqi0q")
_OFD_SETLK: int | None = getattr(fcntl, "F_OFD_SETLK", None)  # Linux

# The kernel keeps the locks of a file in a list: with 10,000 of them in one, each call took 150 microseconds.
_FILES = 16

_POLL_SECONDS = 0.01


class LockFiles:
    """The lock files of a directory, kept open. A lock is one byte of one of them, named by a hexadecimal key.

    The kernel unlocks every byte when the process dies, however it dies. No file is made or removed for a lock, and
    nothing is read or written. On Linux the locks belong to this object's open files, so that two such objects exclude
    each other in one process too; elsewhere they belong to the process, which loses all locks of a file when it closes
    any descriptor of it.

    With ``guard``, a directory that outlives the files, ``LocksUnavailable`` is raised if files are missing while
    another process uses them: they were removed, and new ones would exclude none of its requests. Each user of the
    files holds a shared lock on that directory; creating them needs an exclusive one, within ``wait_seconds``.
    """

    def __init__(
        self,
        directory: Path,
        guard: Path | None = None,
        *,
        wait_seconds: float = 0.0,
        ofd_command: int | None = _OFD_SETLK,
    ) -> None:
        self._ofd_command = ofd_command
        self._paths = [str(directory / f"uploads-{number:x}.lock") for number in range(_FILES)]
        self._identities: list[tuple[int, int]] = []
        self._descriptors: list[int] = []
        self._guard = -1 if guard is None else os.open(guard, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if guard is None:
                self._open_each(os.O_CREAT)
            else:
                self._open_guarded(wait_seconds)
        except BaseException:
            self.close()
            raise

    def _open_guarded(self, wait_seconds: float) -> None:
        deadline = time.monotonic() + wait_seconds
        while True:
            _flock(self._guard, fcntl.LOCK_SH)
            if all(map(os.path.lexists, self._paths)):
                return self._open_each(0)
            # Both locks are taken apart, so the files may exist by now, or be removed; both are looked at again.
            if _flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB):
                self._open_each(os.O_CREAT)
                _flock(self._guard, fcntl.LOCK_SH)
                return None
            if time.monotonic() > deadline:
                where = os.path.dirname(self._paths[0])
                raise LocksUnavailable(
                    f"files in {where} were removed while a server uses them; stop all its processes, then start it"
                )
            # Without the lock another process that starts can create them.
            _flock(self._guard, fcntl.LOCK_UN)
            time.sleep(_POLL_SECONDS)

    def _open_each(self, create: int) -> None:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | create
        for path in self._paths:
            self._descriptors.append(os.open(path, flags, 0o600))
            self._identities.append(_identity(os.fstat(self._descriptors[-1])))

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
        if self._guard >= 0:
            os.close(self._guard)
            self._guard = -1

    def _set(self, kind: int, flags: int, key: str) -> None:
        descriptor = self._descriptors[int(key[0], 16)]
        position = int(key[1:], 16)
        if self._ofd_command is None:
            fcntl.lockf(descriptor, flags, 1, position, os.SEEK_SET)
        else:
            fcntl.fcntl(descriptor, self._ofd_command, _FLOCK.pack(kind, os.SEEK_SET, position, 1, 0))


def _flock(descriptor: int, operation: int) -> bool:
    """Lock or unlock a directory; False if another process excludes it.

    A file system that cannot lock directories (a network share) has no such protection.
    """
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
