"""``python -m benchmarks.million``: what the records cost with a million unfinished uploads, on SQLite and PostgreSQL.

The records are filled through the statements of a server (``Records.insert`` in groups, as requests that arrive
together), without HTTP and without bytes. At each size it measures, through the same calls as the use cases: creations,
look-ups (HEAD), saves (PATCH), the first page of a list, a page of ``tusd-py fsck``, a sweep with nothing due and one
with 1,000 uploads due, what a start looks for, the start of ``tusd-py serve`` until it answers, and the size on disk.

PostgreSQL runs on the same machine with fsync off, as in the tests. CPU is that of this process, and of PostgreSQL's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from tests.support.postgres import PostgresServer, shared_server
from tests.support.server import start_server
from tusd_py.model.upload import HistoryEntry, Status, Upload
from tusd_py.protocol.listing import UploadFilter
from tusd_py.settings import Settings
from tusd_py.uploads.commit import insert
from tusd_py.uploads.expire import sweep
from tusd_py.uploads.ports import Ports
from tusd_py.wiring.ports import close_ports, open_ports

SIZES = (10_000, 100_000, 1_000_000)
#: Requests that are under way together.
TOGETHER = 64
CALLS = 4_000
DUE = 1_000
GIB = 1024**3
_HEADER = "filename aG9saWRheS0yMDI2LTA3LTI5LTE0MzAubXA0,filetype dmlkZW8vbXA0"


@dataclass(frozen=True)
class Cost:
    """Of one call: the median wait and the CPU time of both processes, in microseconds."""

    wait: float
    own_cpu: float
    database_cpu: float

    def __str__(self) -> str:
        database = f" + {self.database_cpu:,.0f}" if self.database_cpu else ""
        return f"{self.wait:,.0f} ({self.own_cpu:,.0f}{database})"


def upload(number: int, *, expires_at: datetime | None = None) -> Upload:
    """An unfinished upload of 1 GiB; its id is random, as those of a server."""
    now = datetime.now(UTC)
    return Upload(
        id=f"{random.Random(number).getrandbits(128):032x}",
        length=GIB,
        metadata_header=_HEADER,
        created_at=now,
        updated_at=now,
        expires_at=expires_at or now + timedelta(days=7),
        history=(HistoryEntry(Status.UPLOADING, now),),
    )


class Filling:
    """One database that grows."""

    def __init__(self, settings: Settings, server: PostgresServer | None) -> None:
        self._settings = settings
        self._server = server
        self.count = 0

    async def measure(self, size: int) -> dict[str, str]:
        """Fill up to ``size`` uploads and measure."""
        ports = await open_ports(self._settings)
        try:
            await self._fill(ports, size - CALLS)
            found = {"creation": str(await self._calls(lambda number: self._create(ports), range(CALLS)))}
            chosen = [random.Random(size + number).randrange(self.count) for number in range(CALLS)]
            found["look-up"] = str(await self._calls(lambda number: self._find(ports, number), chosen))
            found["save"] = str(await self._calls(lambda number: self._save(ports, number), sorted({*chosen})))
            found |= await self._single(ports)
        finally:
            await close_ports(ports, self._settings)
        found["start of a server, s"] = f"{self._start():.2f}"
        found["size on disk, MiB"] = f"{self._bytes() / 2**20:,.0f}"
        return found

    async def _fill(self, ports: Ports, size: int) -> None:
        while self.count < size:
            some = min(TOGETHER * 4, size - self.count)
            await asyncio.gather(*(self._create(ports) for _ in range(some)))

    async def _create(self, ports: Ports) -> None:
        number, self.count = self.count, self.count + 1
        await insert(ports, upload(number))

    async def _find(self, ports: Ports, number: int) -> Upload:
        found = await ports.records.find(upload(number).id)
        assert found is not None
        return found

    async def _save(self, ports: Ports, number: int) -> None:
        found = await self._find(ports, number)
        await ports.records.update(found, replace(found, offset=found.offset + 1))

    async def _calls(self, call: Callable[[int], Awaitable[object]], numbers: Iterable[int]) -> Cost:
        """Make the calls, ``TOGETHER`` at a time."""
        waits: list[float] = []
        numbers = list(numbers)
        queue = iter(numbers)

        async def client() -> None:
            for number in queue:
                began = time.perf_counter()
                await call(number)
                waits.append(time.perf_counter() - began)

        own, database = time.process_time(), self._database_cpu()
        await asyncio.gather(*(client() for _ in range(TOGETHER)))
        own, database = time.process_time() - own, self._database_cpu() - database
        return Cost(*(each * 1e6 for each in (statistics.median(waits), own / len(numbers), database / len(numbers))))

    async def _single(self, ports: Ports) -> dict[str, str]:
        """Calls that one process makes alone, in milliseconds."""
        due = [upload(10**9 + self.count + number, expires_at=datetime.now(UTC)) for number in range(DUE)]
        found = {
            "list, newest 50, ms": await _milliseconds(
                lambda: ports.records.search(UploadFilter(statuses=frozenset({Status.UPLOADING, Status.READY})), 50)
            ),
            "fsck, page of 500, ms": await _milliseconds(lambda: ports.records.page("8", 500)),
            "sweep, nothing due, ms": await _milliseconds(lambda: sweep(ports)),
            "start: what needs recovery, ms": await _milliseconds(lambda: ports.records.needing_recovery(200)),
        }
        await asyncio.gather(*(ports.records.insert(each) for each in due))
        began, own = time.perf_counter(), time.process_time()
        swept = await sweep(ports)
        assert swept.expired >= DUE, swept
        seconds, own = time.perf_counter() - began, time.process_time() - own
        found[f"sweep, {DUE:,} due, s (CPU)"] = f"{seconds:.1f} ({own:.1f})"
        return found

    def _start(self) -> float:
        settings = {} if self._server is None else {"RECORDS__URL": self._settings.records.url}
        began = time.perf_counter()
        server = start_server(Path(self._settings.storage.data_dir), settings=settings)
        seconds = time.perf_counter() - began
        server.stop()
        return seconds

    def _bytes(self) -> int:
        if self._server is None:
            return sum(path.stat().st_size for path in Path(self._settings.storage.data_dir).glob("*.sqlite3*"))
        with psycopg.connect(self._settings.records.url) as connection:
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            assert row is not None
            return int(row[0])

    def _database_cpu(self) -> float:
        if self._server is None:
            return 0.0
        ticks = 0
        for pid in self._server.processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


async def _milliseconds(call: Callable[[], Awaitable[object]]) -> str:
    waits = []
    for _ in range(5):
        began = time.perf_counter()
        await call()
        waits.append(time.perf_counter() - began)
    return f"{statistics.median(waits) * 1000:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.million")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), nargs="+", default=["sqlite", "postgresql"])
    arguments = parser.parse_args()
    for kind in arguments.database:
        with tempfile.TemporaryDirectory(prefix="million-") as directory:
            server = shared_server() if kind == "postgresql" else None
            records = {} if server is None else {"url": server.url(server.create_database())}
            settings = Settings.model_validate({"storage": {"data_dir": directory}, "records": records})
            filling = Filling(settings, server)
            columns: list[dict[str, str]] = []
            for size in arguments.sizes:
                began = time.perf_counter()
                columns.append(asyncio.run(filling.measure(size)))
                print(f"{kind}: {size:,} after {time.perf_counter() - began:.0f} s", file=sys.stderr)
            _print_table(kind, arguments.sizes, columns)
    return 0


def _print_table(kind: str, sizes: Iterable[int], columns: list[dict[str, str]]) -> None:
    print(f"\n| {kind} | {' | '.join(f'{size:,}' for size in sizes)} |\n|---|{'---|' * len(columns)}")
    for name in columns[0]:
        print(f"| {name} | {' | '.join(column[name] for column in columns)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
