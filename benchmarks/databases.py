"""``python -m benchmarks.databases``: what PostgreSQL costs against SQLite, for each creation and each PATCH of 1 KiB.

One server for each round, interleaved; PostgreSQL runs on the same machine, with fsync off as in the tests, so
that the figures are CPU time and round trips and not those of a disk. Needs PostgreSQL's programs.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tests.support.client import TUS, Connection, create, patch_headers
from tests.support.postgres import shared_server
from tests.support.server import start_server
from tests.support.sockets import processes

BYTES = 1024
#: PATCHes of one upload.
PATCHES = 20
CLIENTS = (1, 64)
REQUESTS = {1: 200, 64: 3200}


@dataclass(frozen=True)
class Figures:
    """One round: requests per second, the median wait, and CPU time for each request."""

    rate: float
    median: float
    server_cpu: float
    database_cpu: float


async def _creations(url: str, count: int) -> list[float]:
    connection = await Connection.open(url)
    waits = []
    for _ in range(count):
        began = time.perf_counter()
        answer = await connection.request("POST", url, {**TUS, "Upload-Length": "100"}, b"")
        waits.append(time.perf_counter() - began)
        assert answer.status == 201, answer
    connection.close()
    return waits


async def _patches(url: str, count: int) -> list[float]:
    connection = await Connection.open(url)
    waits = []
    upload = ""
    for number in range(count):
        offset = number % PATCHES * BYTES
        if offset == 0:
            upload = await create(url, PATCHES * BYTES)
        began = time.perf_counter()
        answer = await connection.request("PATCH", upload, patch_headers(offset), bytes(BYTES))
        waits.append(time.perf_counter() - began)
        assert answer.status == 204, answer
    connection.close()
    return waits


LOADS = {"creation": _creations, "PATCH": _patches}


def measure(settings: dict[str, str], load: str, clients: int, server_processes: int) -> Figures:
    """Start a server, load it, and stop it."""
    database = shared_server()

    async def run(url: str, count: int) -> list[float]:
        waits = await asyncio.gather(*(LOADS[load](url, count // clients) for _ in range(clients)))
        return [wait for some in waits for wait in some]

    with tempfile.TemporaryDirectory(prefix="databases-") as directory:
        flags = ["--processes", str(server_processes)]
        server = start_server(Path(directory, "data"), *flags, settings=settings)
        try:
            asyncio.run(run(server.url, clients * PATCHES))
            servers, backends = processes(server.process.pid), database.processes()
            cpu_before, database_before = _cpu_seconds(servers), _cpu_seconds(backends)
            began = time.perf_counter()
            waits = asyncio.run(run(server.url, REQUESTS[clients]))
            seconds = time.perf_counter() - began
            cpu, database_cpu = _cpu_seconds(servers) - cpu_before, _cpu_seconds(backends) - database_before
        finally:
            server.stop()
    count = len(waits)
    return Figures(count / seconds, statistics.median(waits), cpu / count, database_cpu / count)


def _cpu_seconds(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.databases")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--processes", type=int, nargs="+", default=[1], help="server processes, one table row for each"
    )
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, choices=CLIENTS)
    arguments = parser.parse_args()
    database = shared_server()
    found: dict[tuple[str, str, int, int], list[Figures]] = defaultdict(list)
    for _ in range(arguments.rounds):
        for load, clients, count in itertools.product(LOADS, arguments.clients, arguments.processes):
            for name, kind in (("SQLite", ""), ("PostgreSQL", "file"), ("PostgreSQL, its locks", "records")):
                settings = {"LOCKING__KIND": kind or "file"}
                if kind:
                    settings["RECORDS__URL"] = database.url(database.create_database())
                found[load, name, clients, count].append(measure(settings, load, clients, count))
    print(
        "| request | records | clients | processes | requests a second | median ms | server CPU µs | database CPU µs |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for (load, name, clients, count), rounds in found.items():
        middle = Figures(*(statistics.median(values) for values in zip(*map(_values, rounds), strict=True)))
        print(
            f"| {load} | {name} | {clients} | {count} | {middle.rate:,.0f} | {middle.median * 1e3:.1f} "
            f"| {middle.server_cpu * 1e6:.0f} | {middle.database_cpu * 1e6:.0f} |"
        )
    return 0


def _values(figures: Figures) -> tuple[float, float, float, float]:
    return figures.rate, figures.median, figures.server_cpu, figures.database_cpu


if __name__ == "__main__":
    sys.exit(main())
