"""Requests per second and CPU time per request of the five small requests.

``server_busy_percent`` shows whether the server was the bottleneck: near 100 its core was busy all the time, well below
that it waited for something else (a disk, a pool of threads, the load generator).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from benchmarks import load, wrk
from benchmarks.figures import Metric
from benchmarks.processes import cpu_seconds
from benchmarks.scenarios.contract import Bench, Scenario
from benchmarks.servers import Server
from benchmarks.tus import BODY_TYPE, VERSION, Client, named

_CONNECTIONS = 16
_SECONDS = 2.0
_WARM_UP_SECONDS = 2.0
_SMALL_BODY = bytes(range(256)) * 16
_UPLOADS = 100
#: Each request names another file, as it is in use: a server may remember the metadata that it has read.
_NAMES = [named(f"file-{number:04}.bin") for number in range(512)]
#: An upload of which no round sends more than a part.
_ENDLESS_BYTES = 1 << 40
#: More than a server can delete in one round would only make the round longer.
_DELETIONS = 3000

Request = Callable[[Server], load.Target]


def _metrics(what: str) -> tuple[Metric, ...]:
    return (
        Metric("per_second", what, "1/s", "higher"),
        Metric("server_cpu_microseconds", "server CPU per request", "µs", "lower"),
        Metric("server_busy_percent", "server core busy", "%", "higher"),
    )


def creation(server: Server) -> load.Target:
    headers = {**VERSION, "Upload-Length": "1048576"}
    return load.Target(server.host, server.port, "POST", server.path, headers, variants=_NAMES)


def creation_with_upload(server: Server) -> load.Target:
    headers = {**VERSION, "Upload-Length": str(len(_SMALL_BODY)), **BODY_TYPE}
    return load.Target(server.host, server.port, "POST", server.path, headers, _SMALL_BODY, variants=_NAMES)


def inspection(server: Server) -> load.Target:
    """HEADs of a hundred half-finished uploads, which are created for each round."""
    with Client(server.url) as client:
        paths = [client.create(2 * len(_SMALL_BODY), _SMALL_BODY) for _ in range(_UPLOADS)]
    return load.Target(server.host, server.port, "HEAD", paths[0], dict(VERSION), paths=paths)


def append(server: Server) -> load.Target:
    """PATCHes of 4 KiB, one after the other, to an upload for each connection."""
    with Client(server.url) as client:
        paths = [client.create(_ENDLESS_BYTES) for _ in range(_CONNECTIONS)]
    headers = {**VERSION, **BODY_TYPE}
    return load.Target(server.host, server.port, "PATCH", paths[0], headers, _SMALL_BODY, paths, appends=True)


def termination(server: Server) -> load.Target:
    """DELETEs of uploads with 4 KiB each, which are created for each round."""
    with Client(server.url) as client:
        paths = [client.create(2 * len(_SMALL_BODY), _SMALL_BODY) for _ in range(_DELETIONS)]
    return load.Target(server.host, server.port, "DELETE", paths[0], dict(VERSION), paths=paths, is_once=True)


def _run(request: Request, server: Server, bench: Bench, seconds: float) -> Mapping[str, float]:
    target = request(server)
    before, started = cpu_seconds(server.process_id), time.perf_counter()
    # wrk waits for a body after an answer to HEAD that has a Content-Length, and its script sends one request only.
    if wrk.is_installed() and target.method == "POST":
        sent = wrk.make_load(target, seconds, _CONNECTIONS, bench.scratch / "wrk.lua")
    else:
        sent = load.make_load(target, seconds, _CONNECTIONS)
    spent, elapsed = cpu_seconds(server.process_id) - before, time.perf_counter() - started
    return {
        "per_second": sent.per_second,
        "server_cpu_microseconds": spent / sent.requests * 1e6,
        "server_busy_percent": spent / elapsed * 100,
    }


def _scenario(name: str, title: str, what: str, request: Request) -> Scenario:
    return Scenario(
        name,
        title,
        _metrics(what),
        measure=lambda server, bench: _run(request, server, bench, _SECONDS),
        warm_up=lambda server, bench: _run(request, server, bench, _WARM_UP_SECONDS),
        upper_bound="floor",
    )


CREATIONS = _scenario("creations", "POST with Upload-Length, 16 connections", "creations", creation)
SMALL_UPLOADS = _scenario(
    "small-uploads", "POST with the whole upload of 4 KiB, 16 connections", "small uploads", creation_with_upload
)
HEADS = _scenario("heads", "HEAD of 100 unfinished uploads, 16 connections", "HEADs", inspection)
APPENDS = _scenario("appends", "PATCH of 4 KiB, 16 uploads at once", "PATCHes", append)
TERMINATIONS = _scenario("terminations", "DELETE of uploads of 4 KiB, 16 connections", "DELETEs", termination)
