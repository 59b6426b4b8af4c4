"""One PATCH of 512 MiB: how fast the bytes go to the store, what they cost, and how much memory they take."""

from __future__ import annotations

import time
from collections.abc import Mapping

from benchmarks.figures import Metric
from benchmarks.processes import cpu_seconds, peak_resident_bytes, reset_peak
from benchmarks.scenarios.contract import Bench, Scenario
from benchmarks.servers import Server
from benchmarks.tus import Client, UnexpectedAnswer

BIG_FILE_BYTES = 512 << 20

_METRICS = (
    Metric("megabytes_per_second", "speed of one PATCH", "MB/s", "higher"),
    Metric("server_cpu_seconds_per_gib", "server CPU per GiB", "s", "lower", 2),
    Metric("peak_resident_mib", "peak RSS during it", "MiB", "lower", 1),
)


def _measure(server: Server, bench: Bench) -> Mapping[str, float]:
    with Client(server.url) as client:
        path = client.create(BIG_FILE_BYTES)
        reset_peak(server.process_id)
        before, started = cpu_seconds(server.process_id), time.perf_counter()
        answer = client.append_file(path, bench.big_file)
        elapsed = time.perf_counter() - started
        spent = cpu_seconds(server.process_id) - before
        peak = peak_resident_bytes(server.process_id)
        if answer.status != 204 or answer.offset != BIG_FILE_BYTES:
            raise UnexpectedAnswer(f"the PATCH was answered {answer.status}, offset {answer.offset}")
        # Gone before the next one, so that the next writes to memory that has been touched already.
        client.delete(path)
    return {
        "megabytes_per_second": BIG_FILE_BYTES / elapsed / 1e6,
        "server_cpu_seconds_per_gib": spent / (BIG_FILE_BYTES / 2**30),
        "peak_resident_mib": peak / 2**20,
    }


BIG_PATCH = Scenario("big-patch", "One PATCH of 512 MiB", _METRICS, measure=_measure, warm_up=_measure)
