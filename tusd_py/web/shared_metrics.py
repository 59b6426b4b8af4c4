"""The directory in which several server processes share their metrics: one file of each kind for each slot.

Metrics never stop a server: if the directory cannot be used, each process exposes its own numbers.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import mark_process_dead

_log = logging.getLogger("tusd_py.serving")
#: The environment variable that names the directory; prometheus_client reads it when it is imported.
SHARED_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
#: The exceptions of prometheus_client for files that are missing or damaged.
UNREADABLE = (OSError, ValueError, RuntimeError, LookupError, TypeError, struct.error)
#: The kinds of metrics in ``ServerMetrics``, as prometheus_client names their files.
_KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemax")
#: Room for every metric. The blocks are allocated beforehand: with none left on the disk, a process that writes to a
#: hole of a mapped file is killed by the kernel.
_FILE_BYTES = 128 * 1024

#: The slot of this process once it has joined; otherwise prometheus_client names the files after the process id.
_slot: list[int] = []
#: The open directory of a process that has joined: while any process has locked it, no other server removes it.
_joined: list[int] = []
_JOIN_ATTEMPTS = 5


@contextmanager
def shared_directory(parent: Path, environ: MutableMapping[str, str]) -> Iterator[None]:
    """Name a new directory below ``parent`` in ``environ`` during the block, and remove what killed servers left there.

    Without such a directory the block runs all the same.
    """
    try:
        directory, descriptor = _make(parent)
    except OSError as error:
        _log.warning("metrics are not shared between processes", extra={"reason": str(error)})
        yield
        return
    environ[SHARED_DIRECTORY] = str(directory)
    try:
        yield
    finally:
        environ.pop(SHARED_DIRECTORY, None)
        shutil.rmtree(directory, ignore_errors=True)
        os.close(descriptor)


def join(slot: int, environ: MutableMapping[str, str]) -> None:
    """Share the metrics of this process, before any is made; a process with the same slot must have exited.

    It goes on counting where the process before it in this slot ended. Makes the directory again if it was removed.
    """
    if SHARED_DIRECTORY not in environ:
        return
    try:
        _joined[:] = [_allocate_locked(Path(environ[SHARED_DIRECTORY]), slot)]
    except OSError as error:
        _log.warning("this process does not share its metrics", extra={"reason": str(error)})
        del environ[SHARED_DIRECTORY]
        values.ValueClass = values.MutexValue
    else:
        _slot[:] = [slot]
        values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]


def leave(slot: int, environ: MutableMapping[str, str]) -> None:
    """Remove the gauges of the exited process of ``slot`` from the sum."""
    if SHARED_DIRECTORY in environ:
        with suppress(OSError):
            mark_process_dead(slot, environ[SHARED_DIRECTORY])  # type: ignore[no-untyped-call]


def identifier() -> int:
    """The number in the names of this process's files."""
    return _slot[0] if _slot else os.getpid()


def _make(parent: Path) -> tuple[Path, int]:
    """Make a directory that is locked while this process lives, and remove those that are not."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(parent):
        for entry in parent.iterdir():
            with suppress(OSError), _locked(entry, wait=False):
                shutil.rmtree(entry)
        directory = Path(tempfile.mkdtemp(prefix="server-", dir=parent))
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return directory.absolute(), descriptor


def _allocate_locked(directory: Path, slot: int) -> int:
    """Make the files of ``slot`` and lock their directory, which another server may take for a leftover until then."""
    for _ in range(_JOIN_ATTEMPTS):
        for kind in _KINDS:
            _allocate(directory / f"{kind}_{slot}.db")
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), directory.stat()):
                return descriptor
        os.close(descriptor)
    raise OSError(f"{directory} is removed again and again")


@contextmanager
def _locked(directory: Path, *, wait: bool = True) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def _allocate(path: Path) -> None:
    """Make the file with blocks for all of its bytes; one that a killed process left unreadable is made anew."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and not _is_readable(path):
        path.unlink()
    with path.open("ab") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, _FILE_BYTES)


def _is_readable(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            used: int = struct.unpack("i", file.read(4))[0]
        list(MmapedDict.read_all_values_from_file(path))  # type: ignore[no-untyped-call]
    except UNREADABLE:
        return False
    return 0 <= used <= path.stat().st_size
