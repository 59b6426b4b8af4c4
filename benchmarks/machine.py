"""The machine: cores, limits, a directory in memory, and the description that is published with the figures."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.interpreter import build_flags

_SHARED_MEMORY = Path("/dev/shm")
_OPEN_FILES = 16_384
_TOUCHED_BYTES = 4 << 30
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Cores:
    """The core of the servers and the core of the load generator."""

    server: frozenset[int]
    load: frozenset[int]


def divide_cores() -> Cores:
    """The highest core for the server and the lowest for the load generator.

    If there is only one core, both share it: then compare only the ratios.
    """
    cores = sorted(os.sched_getaffinity(0))
    return Cores(server=frozenset({cores[-1]}), load=frozenset({cores[0]}))


def raise_open_files_limit() -> None:
    """Allow this process and the servers it starts to open ten thousand sockets and as many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def scratch_directory(parent: Path | None) -> Iterator[Path]:
    """A temporary directory in ``parent``, by default in memory, so that no disk is measured."""
    chosen = parent or (_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir()))
    directory = Path(tempfile.mkdtemp(prefix="tusd-py-bench-", dir=chosen))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def touch_memory(directory: Path) -> None:
    """Write and free pages: on virtual machines the first use of a page is slow, because the host has to provide it."""
    filler = directory / "filler"
    write_file(filler, min(_TOUCHED_BYTES, shutil.disk_usage(directory).free // 4))
    filler.unlink()


def write_file(path: Path, length: int) -> None:
    """Write ``length`` bytes that do not compress."""
    block = os.urandom(_BLOCK_BYTES)
    with path.open("wb") as file:
        for offset in range(0, length, _BLOCK_BYTES):
            file.write(block[: min(_BLOCK_BYTES, length - offset)])


class OtherPrograms:
    """Measures the CPU time of other programs since it was created: figures of a busy machine are unreliable."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._before = _busy_seconds() - _own_seconds()

    def cores(self) -> float:
        """How many cores other programs and the hypervisor kept busy on average. All children must have ended."""
        return max(0.0, _busy_seconds() - _own_seconds() - self._before) / (time.monotonic() - self._started)


def _busy_seconds() -> float:
    """The time that all cores spent in programs, from the first line of /proc/stat: proc(5).

    Without interrupts: those of our own traffic belong to no program and would count as the time of another one.
    """
    user, nice, system, _idle, _waiting, _interrupts, _soft_interrupts, stolen = (
        int(ticks) for ticks in Path("/proc/stat").read_text().split(None, 9)[1:9]
    )
    return (user + nice + system + stolen) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def describe_machine(cores: Cores, scratch: Path) -> dict[str, str | float]:
    """What a reader needs to interpret the figures, without the name of the machine."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "server_core": ",".join(map(str, sorted(cores.server))),
        "load_core": ",".join(map(str, sorted(cores.load))),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "python_build": build_flags(),
        "data_on": _file_system(scratch),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _file_system(path: Path) -> str:
    """The type of the file system of ``path``: that of the longest mount point that contains it."""
    resolved = str(path.resolve())
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, file_system, *_ = line.split()
        if len(mount) > len(best) and (resolved + "/").startswith(mount.rstrip("/") + "/"):
            best, kind = mount, file_system
    return kind
