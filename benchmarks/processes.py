"""CPU time and resident memory of a process and all its descendants, read from /proc."""

from __future__ import annotations

import time
from pathlib import Path

_PROC = Path("/proc")
# The kernel's clock of another process' CPU time (all threads, also those that ended), in nanoseconds. The figure in
# /proc/<pid>/stat has ticks of 10 ms, too coarse for a PATCH of 0.3 s. See clock_getcpuclockid(3).
_SCHEDULED_TIME = 2
# Processes that use less than this share of a core for so many turns are idle.
_IDLE_SHARE = 0.05
_TURN_SECONDS = 0.2
_QUIET_TURNS = 5


def tree(process_id: int) -> list[int]:
    """``process_id`` and all its descendants that are running."""
    found = [process_id]
    for parent in found:
        for children in _PROC.glob(f"{parent}/task/*/children"):
            try:
                found += [int(child) for child in children.read_text().split()]
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def cpu_seconds(process_id: int) -> float:
    """CPU time spent so far by the process and its descendants."""
    return sum(time.clock_gettime_ns((~one << 3) | _SCHEDULED_TIME) for one in tree(process_id)) / 1e9


def resident_bytes(process_id: int) -> int:
    """The resident memory now. Pages that several of the processes share are counted once for each."""
    return sum(_status_bytes(one, "VmRSS:") for one in tree(process_id))


def peak_resident_bytes(process_id: int) -> int:
    """The highest resident memory since ``reset_peak``."""
    return sum(_status_bytes(one, "VmHWM:") for one in tree(process_id))


def reset_peak(process_id: int) -> None:
    """Reset the peak to the memory that is resident now: proc(5), clear_refs, 5."""
    for one in tree(process_id):
        (_PROC / str(one) / "clear_refs").write_text("5")


def _status_bytes(process_id: int, field: str) -> int:
    for line in (_PROC / str(process_id) / "status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0


def wait_until_idle(process_id: int, seconds_max: float = 60.0) -> None:
    """Wait until the processes have nothing to do: a server that accepts connections may still start workers."""
    deadline = time.monotonic() + seconds_max
    quiet = 0
    while quiet < _QUIET_TURNS and time.monotonic() < deadline:
        before = cpu_seconds(process_id)
        time.sleep(_TURN_SECONDS)
        quiet = quiet + 1 if cpu_seconds(process_id) - before < _IDLE_SHARE * _TURN_SECONDS else 0
