"""``python -m benchmarks.concurrent``: what each upload under way costs one server process, by the rate of its client.

Every upload is one PATCH on a connection of its own that sends ten pieces a second. Printed is CPU time for each second
of one upload, on SQLite and on PostgreSQL (with fsync off, as in the tests), with files: multiply it by the number of
uploads to find when a core is full. The processes share the machine with the clients, so only CPU time is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.databases import _cpu_seconds
from benchmarks.machine import raise_open_files_limit
from benchmarks.processes import resident_bytes
from tests.support.client import Connection, create, patch_headers
from tests.support.postgres import PostgresServer, shared_server
from tests.support.server import RunningServer, start_server
from tests.support.sockets import processes

PIECES = 10
RATES = (1_000, 100_000)
LENGTH = 1024**3


@dataclass(frozen=True)
class Load:
    """What was sent in ``seconds``, and the CPU time of server and database."""

    seconds: float
    sent: int
    cpu: float
    database_cpu: float
    resident: int


async def run(server: RunningServer, database: PostgresServer, uploads: int, rate: int, seconds: float) -> Load:
    """Open the uploads, and send for ``seconds``."""
    piece = bytes(rate // PIECES)
    connections = []
    for _ in range(uploads):
        upload = await create(server.url, LENGTH)
        connection = await Connection.open(upload)
        await connection.send_head("PATCH", upload, patch_headers(0, LENGTH))
        connections.append(connection)

    async def send(number: int, until: float) -> int:
        count, due = 0, time.monotonic() + number / uploads / PIECES
        while due < until:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await connections[number].send(piece)
            count, due = count + len(piece), due + 1 / PIECES
        return count

    async def send_all(duration: float) -> int:
        until = time.monotonic() + duration
        return sum(await asyncio.gather(*(send(number, until) for number in range(uploads))))

    await send_all(3)
    # Only now: connections to the database are opened at their first use.
    pids, backends = processes(server.process.pid), database.processes()
    cpu, database_cpu, began = _cpu_seconds(pids), _cpu_seconds(backends), time.monotonic()
    sent = await send_all(seconds)
    load = Load(
        time.monotonic() - began,
        sent,
        _cpu_seconds(pids) - cpu,
        _cpu_seconds(backends) - database_cpu,
        resident_bytes(server.process.pid),
    )
    for connection in connections:
        connection.close()
    return load


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.concurrent")
    parser.add_argument("--uploads", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    raise_open_files_limit()
    database = shared_server()
    print("| bytes a second | records | server CPU, µs | database CPU, µs | achieved rate | RSS, MiB |")
    print("|---|---|---|---|---|---|")
    for rate in RATES:
        for name in ("SQLite", "PostgreSQL"):
            settings = {"RECORDS__URL": database.url(database.create_database())} if name == "PostgreSQL" else {}
            settings |= {"UPLOADS__EMPTY_PER_CLIENT_MAX": "0"}
            with tempfile.TemporaryDirectory(prefix="concurrent-", dir="/dev/shm") as directory:
                server = start_server(Path(directory, "data"), settings=settings)
                try:
                    load = asyncio.run(run(server, database, arguments.uploads, rate, arguments.seconds))
                finally:
                    server.kill()
            each = 1e6 / arguments.uploads / load.seconds
            achieved = load.sent / load.seconds / arguments.uploads / rate
            print(
                f"| {rate:,} | {name} | {load.cpu * each:,.0f} | {load.database_cpu * each:,.0f} | {achieved:.0%} "
                f"| {load.resident / 2**20:,.0f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
