"""Uploads of large bodies: one PATCH of 512 MiB, the same bytes in PATCHes of 8 MiB, and 32 uploads at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from benchmarks.figures import Metric
from benchmarks.processes import cpu_seconds, peak_resident_bytes, reset_peak
from benchmarks.scenarios.contract import Bench, Scenario
from benchmarks.servers import Server
from benchmarks.streams import append, append_side_by_side
from benchmarks.tus import Client

_BYTES = 512 << 20
_CHUNK_BYTES = 8 << 20
_UPLOADS = 32


def _metrics(what: str) -> tuple[Metric, ...]:
    return (
        Metric("megabytes_per_second", f"speed of {what}", "MB/s", "higher"),
        Metric("server_cpu_seconds_per_gib", "server CPU per GiB", "s", "lower", 2),
        Metric("peak_resident_mib", "peak RSS during it", "MiB", "lower", 1),
    )


def _timed(server: Server, action: Callable[[], object]) -> Mapping[str, float]:
    """Measure ``action``, which uploads ``_BYTES``."""
    reset_peak(server.process_id)
    before, started = cpu_seconds(server.process_id), time.perf_counter()
    action()
    elapsed, spent = time.perf_counter() - started, cpu_seconds(server.process_id) - before
    return {
        "megabytes_per_second": _BYTES / elapsed / 1e6,
        "server_cpu_seconds_per_gib": spent / (_BYTES / 2**30),
        "peak_resident_mib": peak_resident_bytes(server.process_id) / 2**20,
    }


# Each upload is deleted before the next one, so that the next writes to memory that was used before.


def _one_patch(server: Server, bench: Bench) -> Mapping[str, float]:
    with Client(server.url) as client:
        path = client.create(_BYTES)
        values = _timed(server, lambda: append(client, path, 0, _BYTES))
        client.delete(path)
    return values


def _chunks(server: Server, bench: Bench) -> Mapping[str, float]:
    def send_chunks() -> None:
        for offset in range(0, _BYTES, _CHUNK_BYTES):
            append(client, path, offset, _CHUNK_BYTES)

    with Client(server.url) as client:
        path = client.create(_BYTES)
        values = _timed(server, send_chunks)
        client.delete(path)
    return values


def _side_by_side(server: Server, bench: Bench) -> Mapping[str, float]:
    length = _BYTES // _UPLOADS
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(server.url)) for _ in range(_UPLOADS)]
        paths = [client.create(length) for client in clients]
        values = _timed(server, lambda: append_side_by_side(clients, paths, length))
        for path in paths:
            clients[0].delete(path)
    return values


def _scenario(
    name: str, title: str, what: str, measure: Callable[[Server, Bench], Mapping[str, float]], upper_bound: str = ""
) -> Scenario:
    return Scenario(name, title, _metrics(what), measure=measure, warm_up=measure, upper_bound=upper_bound)


BIG_PATCH = _scenario("big-patch", "One PATCH of 512 MiB", "one PATCH", _one_patch, upper_bound="raw")
CHUNKS = _scenario("chunks", "512 MiB in PATCHes of 8 MiB on one connection", "the upload", _chunks)
PARALLEL = _scenario("parallel", "32 uploads of 16 MiB at once", "all together", _side_by_side)
