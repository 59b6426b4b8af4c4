"""A thousand slow uploads: the memory and the CPU time they take, and the delay they add for another client."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks.figures import Metric
from benchmarks.processes import cpu_seconds, resident_bytes
from benchmarks.scenarios.contract import Bench, Scenario
from benchmarks.servers import Server
from benchmarks.tus import Client, UnexpectedAnswer

_SLOW_UPLOADS = 1000
_BYTES_A_SECOND = 100
_PROBE_BODY = bytes(4096)
_PROBES = 2400
#: As long as a server may take until it has saved every slow upload once.
_PROBE_SECONDS = 12.0
_WARM_UP_PROBES = 300
#: What is left in memory a while after the slow uploads were interrupted.
_SETTLE_SECONDS = 2.0
_STOP_SECONDS = 60

_METRICS = (
    Metric("added_resident_mib", "RSS that 1,000 slow uploads add", "MiB", "lower", 1),
    Metric("left_resident_mib", "RSS that is left of it when they have ended", "MiB", "lower", 1),
    Metric("cpu_us_per_piece", "CPU per piece of a slow upload, saves included", "us", "lower", 0),
    Metric("alone_p50_ms", "small upload of another client, without them: p50", "ms", "lower", 2),
    Metric("alone_p99_ms", "small upload of another client, without them: p99", "ms", "lower", 2),
    Metric("beside_p50_ms", "small upload of another client, beside them: p50", "ms", "lower", 2),
    Metric("beside_p99_ms", "small upload of another client, beside them: p99", "ms", "lower", 2),
    Metric("slowdown_p50_ms", "added to p50", "ms", "lower", 2),
    Metric("slowdown_p99_ms", "added to p99", "ms", "lower", 2),
    Metric("p99_ratio", "p99 beside them, times the p99 without them", "x", "lower", 2),
    Metric("kept_percent", "bytes kept when all are interrupted", "%", "higher", 1),
)


def _measure(server: Server, bench: Bench) -> Mapping[str, float]:
    _probe(server, _WARM_UP_PROBES, 0.0)
    cpu_alone = -cpu_seconds(server.process_id)
    alone = _probe(server, _PROBES, _PROBE_SECONDS)
    cpu_alone += cpu_seconds(server.process_id)
    idle = resident_bytes(server.process_id)
    with _slow_clients(server) as seen:
        cpu_beside = -cpu_seconds(server.process_id)
        beside = _probe(server, _PROBES, _PROBE_SECONDS)
        cpu_beside += cpu_seconds(server.process_id)
        added = resident_bytes(server.process_id) - idle
    time.sleep(_SETTLE_SECONDS)
    left = resident_bytes(server.process_id) - idle
    if seen["open"] != _SLOW_UPLOADS:
        raise UnexpectedAnswer(f"only {seen['open']:.0f} of {_SLOW_UPLOADS} slow uploads were still open at the end")
    return {
        "added_resident_mib": added / 2**20,
        "left_resident_mib": left / 2**20,
        "cpu_us_per_piece": (cpu_beside - cpu_alone) / (_SLOW_UPLOADS * _PROBE_SECONDS) * 1e6,
        "alone_p50_ms": _percentile(alone, 50),
        "alone_p99_ms": _percentile(alone, 99),
        "beside_p50_ms": _percentile(beside, 50),
        "beside_p99_ms": _percentile(beside, 99),
        "slowdown_p50_ms": _percentile(beside, 50) - _percentile(alone, 50),
        "slowdown_p99_ms": _percentile(beside, 99) - _percentile(alone, 99),
        "p99_ratio": _percentile(beside, 99) / _percentile(alone, 99),
        "kept_percent": seen["kept"] * 100,
    }


def _probe(server: Server, count: int, spread_seconds: float) -> list[float]:
    """The milliseconds of each of ``count`` uploads of 4 KiB, one after the other, started at equal intervals."""
    taken = []
    with Client(server.url) as client:
        probe_started = time.perf_counter()
        for index in range(count):
            due = probe_started + spread_seconds * index / count
            time.sleep(max(0.0, due - time.perf_counter()))
            started = time.perf_counter()
            client.create(len(_PROBE_BODY), _PROBE_BODY)
            taken.append((time.perf_counter() - started) * 1e3)
    return taken


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


@contextmanager
def _slow_clients(server: Server) -> Iterator[dict[str, float]]:
    """Run the slow uploads during the block. Afterwards the dictionary contains the results of their process."""
    command = [sys.executable, "-m", "benchmarks.slow_clients", server.url, str(_SLOW_UPLOADS)]
    command.append(str(_BYTES_A_SECOND))
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    seen: dict[str, float] = {}
    try:
        if not process.stdout.readline():
            raise UnexpectedAnswer(f"the slow uploads did not start: {_last_line(process)}")
        yield seen
        output, _ = process.communicate(timeout=_STOP_SECONDS)
        if process.returncode:
            raise UnexpectedAnswer("the slow uploads failed after their connections were closed")
        seen |= json.loads(output)
    finally:
        process.kill()
        process.wait()


def _last_line(process: subprocess.Popen[bytes]) -> str:
    _, error_output = process.communicate(timeout=_STOP_SECONDS)
    lines = error_output.decode().strip().splitlines()
    return lines[-1] if lines else "it printed nothing"


SLOW_UPLOADS = Scenario(
    "slow-uploads",
    "1,000 uploads at 100 bytes a second each",
    _METRICS,
    measure=_measure,
    warm_up=lambda server, bench: None,
    fresh_server=True,
)
