"""Measures one process with ten thousand idle connections and two thousand slow uploads, and other requests meanwhile.

``python -m benchmarks.scale`` starts a server of this project on a core of its own and prints the figures.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.machine import divide_cores, raise_open_files_limit, scratch_directory
from benchmarks.processes import resident_bytes
from benchmarks.recipes import ours
from benchmarks.servers import running
from benchmarks.tus import Client, UnexpectedAnswer

_PROBE_BODY = bytes(4096)
_WARM_UP_PROBES = 300
#: Between the starts of two small uploads.
_PROBE_SECONDS = 0.005
#: Long enough for the record of every slow upload to be saved while its body runs.
_SETTLE_SECONDS = 2.5
_END_SECONDS = 60


@dataclass(frozen=True)
class Scale:
    """The cost of many connections. ``alone`` and ``beside`` are times of small uploads, each a creation with 4 KiB."""

    idle: int
    slow: int
    still_idle: int
    still_slow: int
    kib_per_idle: float
    kib_per_slow: float
    threads: int
    alone_p50_ms: float
    alone_p99_ms: float
    beside_p50_ms: float
    beside_p99_ms: float


def measure(url: str, process_id: int, idle: int, slow: int, rounds: int = 3, probes: int = 500) -> Scale:
    """Measure the server at ``url``, a new process. Raises ``UnexpectedAnswer`` if the connections cannot be opened.

    Small uploads are timed in turn without slow ones and beside them, so that other load affects both alike.
    """
    _probe(url, _WARM_UP_PROBES, 0.0)
    before = resident_bytes(process_id)
    alone, beside, kib_per_slow, threads, still_slow = [], [], [], [], []
    with _connections(url, idle, 0) as idle_connections:
        with_idle = resident_bytes(process_id)
        for _ in range(rounds):
            alone.append(_probe(url, probes, probes * _PROBE_SECONDS))
            empty = resident_bytes(process_id)
            with _connections(url, 0, slow) as uploads:
                uploads.start_slow_uploads()
                time.sleep(_SETTLE_SECONDS)
                kib_per_slow.append((resident_bytes(process_id) - empty) / max(1, slow) / 1024)
                beside.append(_probe(url, probes, probes * _PROBE_SECONDS))
                threads.append(_threads(process_id))
                still_slow.append(uploads.stop()["slow"])
        idle_connections.start_slow_uploads()
        still_idle = idle_connections.stop()["idle"]
    return Scale(
        idle=idle,
        slow=slow,
        still_idle=still_idle,
        still_slow=min(still_slow),
        kib_per_idle=(with_idle - before) / max(1, idle) / 1024,
        # Later rounds reuse the memory of the first one.
        kib_per_slow=max(kib_per_slow),
        threads=max(threads),
        alone_p50_ms=_median_percentile(alone, 50),
        alone_p99_ms=_median_percentile(alone, 99),
        beside_p50_ms=_median_percentile(beside, 50),
        beside_p99_ms=_median_percentile(beside, 99),
    )


def _probe(url: str, count: int, spread_seconds: float) -> list[float]:
    """The milliseconds of each of ``count`` small uploads, started at equal intervals."""
    taken = []
    with Client(url) as client:
        probe_started = time.perf_counter()
        for index in range(count):
            time.sleep(max(0.0, probe_started + spread_seconds * index / count - time.perf_counter()))
            started = time.perf_counter()
            client.create(len(_PROBE_BODY), _PROBE_BODY)
            taken.append((time.perf_counter() - started) * 1e3)
    return taken


class _ConnectionsProcess:
    """The process of ``benchmarks.many_connections``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._read_line()

    def start_slow_uploads(self) -> None:
        """Start the slow uploads, if there are any, and wait until all run."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._read_line()

    def stop(self) -> dict[str, int]:
        """Stop sending and return how many connections of each kind the server has kept open."""
        output, _ = self._process.communicate(timeout=_END_SECONDS)
        counts: dict[str, int] = json.loads(output)
        return counts

    def _read_line(self) -> None:
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise UnexpectedAnswer("not all connections were opened; the error is printed above")


@contextmanager
def _connections(url: str, idle: int, slow: int) -> Iterator[_ConnectionsProcess]:
    command = [sys.executable, "-m", "benchmarks.many_connections", url, str(idle), str(slow)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield _ConnectionsProcess(process)
    finally:
        process.kill()
        process.communicate()


def _threads(process_id: int) -> int:
    found = re.search(r"^Threads:\s+(\d+)", Path(f"/proc/{process_id}/status").read_text(), re.M)
    assert found is not None, "proc(5) has it"
    return int(found[1])


def _median_percentile(rounds: list[list[float]], percent: int) -> float:
    return statistics.median(statistics.quantiles(values, n=100)[percent - 1] for values in rounds)


def main() -> None:
    """Print the figures, one per line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--idle", type=int, default=10_000, help="idle keep-alive connections (10,000)")
    parser.add_argument("--slow", type=int, default=2_000, help="uploads at 1 KiB/s each (2,000)")
    options = parser.parse_args()
    raise_open_files_limit()
    with scratch_directory(None) as scratch, running(ours(), scratch / "server", divide_cores()) as server:
        scale = measure(server.url, server.process_id, options.idle, options.slow)
    for name, value in asdict(scale).items():
        print(f"{name:16} {value:,.2f}" if isinstance(value, float) else f"{name:16} {value:,}")


if __name__ == "__main__":
    main()
