"""Scenarios with complete uploads: concatenating four, and downloading one."""

from __future__ import annotations

import time
from collections.abc import Mapping

from benchmarks.figures import Metric
from benchmarks.processes import cpu_seconds, peak_resident_bytes, reset_peak
from benchmarks.scenarios.contract import Bench, Scenario
from benchmarks.servers import Server
from benchmarks.streams import append, downloaded
from benchmarks.tus import Client, UnexpectedAnswer

_PARTS = 4
_PART_BYTES = 256 << 20
_DOWNLOAD_BYTES = 512 << 20
_POLL_SECONDS = 0.002
_TIMEOUT_SECONDS = 30.0

_CONCATENATION_METRICS = (
    Metric("concatenation_seconds", "from the POST until HEAD returns the full offset", "s", "lower", 3),
    Metric("server_cpu_seconds", "server CPU", "s", "lower", 3),
)
_DOWNLOAD_METRICS = (
    Metric("megabytes_per_second", "speed of one GET", "MB/s", "higher"),
    Metric("server_cpu_seconds_per_gib", "server CPU per GiB", "s", "lower", 2),
    Metric("peak_resident_mib", "peak RSS during it", "MiB", "lower", 1),
)


def _concatenation(server: Server, bench: Bench) -> Mapping[str, float]:
    with Client(server.url) as client:
        parts = [client.create(_PART_BYTES, is_part=True) for _ in range(_PARTS)]
        for part in parts:
            append(client, part, 0, _PART_BYTES)
        before, started = cpu_seconds(server.process_id), time.perf_counter()
        final = client.concatenate(parts)
        _wait_until_concatenated(client, final)
        elapsed, spent = time.perf_counter() - started, cpu_seconds(server.process_id) - before
        client.delete(final)
        for part in parts:
            # A server may have deleted the parts after concatenating them; then this is 404.
            client.request("DELETE", part, {})
    return {"concatenation_seconds": elapsed, "server_cpu_seconds": spent}


def _wait_until_concatenated(client: Client, path: str) -> None:
    """Poll HEAD for the full offset: our server concatenates large uploads after its answer, others before it."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while (offset := client.head(path).offset) != _PARTS * _PART_BYTES:
        if time.monotonic() > deadline:
            raise UnexpectedAnswer(f"not concatenated within {_TIMEOUT_SECONDS:.0f} s; last offset: {offset}")
        time.sleep(_POLL_SECONDS)


def _download(server: Server, bench: Bench) -> Mapping[str, float]:
    with Client(server.url) as client:
        path = client.create(_DOWNLOAD_BYTES)
        append(client, path, 0, _DOWNLOAD_BYTES)
    reset_peak(server.process_id)
    before, started = cpu_seconds(server.process_id), time.perf_counter()
    with downloaded(server.url, path) as received:
        elapsed, spent = time.perf_counter() - started, cpu_seconds(server.process_id) - before
        peak = peak_resident_bytes(server.process_id)
    if received != _DOWNLOAD_BYTES:
        raise UnexpectedAnswer(f"the download had {received} bytes")
    # Over a new connection: the server may have closed the first one, which was idle during the download.
    with Client(server.url) as client:
        client.delete(path)
    return {
        "megabytes_per_second": received / elapsed / 1e6,
        "server_cpu_seconds_per_gib": spent / (received / 2**30),
        "peak_resident_mib": peak / 2**20,
    }


CONCATENATION = Scenario(
    "concatenation",
    "Concatenating 4 uploads of 256 MiB",
    _CONCATENATION_METRICS,
    measure=_concatenation,
    warm_up=_concatenation,
)
DOWNLOAD = Scenario("download", "One GET of 512 MiB", _DOWNLOAD_METRICS, measure=_download, warm_up=_download)
