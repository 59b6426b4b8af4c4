"""The servers that use a data directory on this machine: each holds a locked file with its process id there.

The lock ends with the process, however it ends, so a file that is not locked is left over.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_MODE = 0o640


class Registration:
    """The file of one server. ``announce`` writes it when the server accepts connections."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / f"{os.getpid()}.pid"
        self._descriptor = -1

    def announce(self) -> None:
        """Write and lock the file. A directory that cannot be written to only makes this server unknown."""
        with suppress(OSError):
            self._directory.mkdir(mode=0o750, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            # The time tells a program from the one that it replaced in the same process.
            os.write(self._descriptor, f"{os.getpid()} {time.monotonic_ns()}\n".encode())

    def remove(self) -> None:
        """Remove the file."""
        if self._descriptor >= 0:
            with suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def registered(directory: Path | None) -> Iterator[Registration | None]:
    """A registration in ``directory`` for the duration of the block; ``None`` without a directory."""
    if directory is None:
        yield None
        return
    registration = Registration(directory)
    try:
        yield registration
    finally:
        registration.remove()


def running_servers(directory: Path) -> dict[int, str]:
    """The process ids of the servers registered in ``directory``, each with what identifies its present program."""
    found = {}
    for path in sorted(directory.glob("*.pid")):
        with suppress(OSError, ValueError, IndexError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if _is_locked(descriptor):
                    process_id, program = os.read(descriptor, 100).decode().split()
                    found[int(process_id)] = program
            finally:
                os.close(descriptor)
    return found


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
