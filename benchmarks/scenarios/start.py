"""Starting a server: until its first answer, and the memory that it has then."""

from __future__ import annotations

import time
from collections.abc import Mapping

from benchmarks.figures import Metric
from benchmarks.processes import cpu_seconds, resident_bytes
from benchmarks.scenarios.contract import Bench, Scenario
from benchmarks.servers import Server
from benchmarks.tus import Client

#: What a server does after its first answer, such as starting a worker, is over by then.
_SETTLE_SECONDS = 1.0

_METRICS = (
    Metric("first_answer_seconds", "from the start of the process to the first answer", "s", "lower", 2),
    Metric("start_cpu_seconds", "server CPU until then", "s", "lower", 2),
    Metric("idle_resident_mib", "RSS, idle", "MiB", "lower", 1),
)


def _measure(server: Server, bench: Bench) -> Mapping[str, float]:
    with Client(server.url) as client:
        client.request("OPTIONS", client.base_path, {})
        elapsed, spent = time.perf_counter() - server.started_at, cpu_seconds(server.process_id)
    time.sleep(_SETTLE_SECONDS)
    return {
        "first_answer_seconds": elapsed,
        "start_cpu_seconds": spent,
        "idle_resident_mib": resident_bytes(server.process_id) / 2**20,
    }


START = Scenario("start", "Starting", _METRICS, measure=_measure, warm_up=lambda server, bench: None, fresh_server=True)
