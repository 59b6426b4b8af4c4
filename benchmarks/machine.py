"""The machine that measures: cores, limits, a directory in memory, and the facts that belong beside a figure."""

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

_SHARED_MEMORY = Path("/dev/shm")
_OPEN_FILES = 16_384
_TOUCHED_BYTES = 4 << 30
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Cores:
    """Which core the servers run on and which one the load."""

    server: frozenset[int]
    load: frozenset[int]


def divide_cores() -> Cores:
    """Give the server one core of its own, the highest one, and the load the lowest.

    With one core only, both share it: the ratios still say something, the absolute figures little.
    """
    cores = sorted(os.sched_getaffinity(0))
    return Cores(server=frozenset({cores[-1]}), load=frozenset({cores[0]}))


def raise_open_files_limit() -> None:
    """Let this process and the servers it starts hold ten thousand sockets and as many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def scratch_directory(parent: Path | None) -> Iterator[Path]:
    """A directory that is gone afterwards; in memory, so that no disk is measured, unless ``parent`` is given."""
    chosen = parent or (_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir()))
    directory = Path(tempfile.mkdtemp(prefix="tusd-py-bench-", dir=chosen))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def touch_memory(directory: Path) -> None:
    """Fill pages and give them back: on virtual machines the host hands out a page slowly the first time it is used."""
    filler = directory / "filler"
    write_file(filler, min(_TOUCHED_BYTES, shutil.disk_usage(directory).free // 4))
    filler.unlink()


def write_file(path: Path, length: int) -> None:
    """Write ``length`` bytes that do not compress."""
    block = os.urandom(_BLOCK_BYTES)
    with path.open("wb") as file:
        for offset in range(0, length, _BLOCK_BYTES):
            file.write(block[: min(_BLOCK_BYTES, length - offset)])


class Others:
    """How much of the processor other programs took since it was made: figures of a busy machine are worth little."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._before = _busy_seconds() - _own_seconds()

    def cores(self) -> float:
        """How many cores others kept busy on average, what a hypervisor took included. Children must have ended."""
        return max(0.0, _busy_seconds() - _own_seconds() - self._before) / (time.monotonic() - self._started)


def _busy_seconds() -> float:
    """Time in which any core worked for a program, from the first line of /proc/stat: proc(5).

    Interrupts are left out: those of the load's own traffic are nobody's time, and would look like another program's.
    """
    user, nice, system, _idle, _waiting, _interrupts, _soft_interrupts, stolen = (
        int(ticks) for ticks in Path("/proc/stat").read_text().split(None, 9)[1:9]
    )
    return (user + nice + system + stolen) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def facts(cores: Cores, scratch: Path) -> dict[str, str | float]:
    """What a reader must know to place the figures; no name of the machine."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "server_core": ",".join(map(str, sorted(cores.server))),
        "load_core": ",".join(map(str, sorted(cores.load))),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "data_on": _file_system(scratch),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _file_system(path: Path) -> str:
    """The type of the file system that holds ``path``: the longest mount point above it wins."""
    resolved = str(path.resolve())
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, file_system, *_ = line.split()
        if len(mount) > len(best) and (resolved + "/").startswith(mount.rstrip("/") + "/"):
            best, kind = mount, file_system
    return kind
