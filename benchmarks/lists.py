"""``python -m benchmarks.lists``: lists of uploads among two million, and what their indexes cost a creation.

Rows are made by SQL, then read through ``Records.search`` as the API reads them, on SQLite, or on PostgreSQL with fsync
off as in the tests (``--postgres``). The cost of a creation is the CPU time of the process for records inserted through
the group commit, in turn with and without the indexes.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from tests.support.postgres import new_database
from tusd_py.contracts.records import Records
from tusd_py.model.upload import HistoryEntry, Status, Upload
from tusd_py.protocol.headers import format_base64
from tusd_py.protocol.listing import PageKey, UploadFilter
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.list_indexes import INDEXES
from tusd_py.records.sql.schema import bring_up_to_date

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LIMIT = 100
_COLUMNS = (
    'id, kind, status, length, "offset", token, metadata_header, owner, created_at, updated_at, completed_at, history, '
    "pending_steps, storage, name_key, declared_type"
)
#: Mostly ready, a few of everything else, all over the two years.
_STATUSES = ["ready"] * 940 + ["terminated"] * 40 + ["expired"] * 15 + ["failed", "rejected", "uploading", "processing"]
_HISTORY = '[{"status":"uploading","at":"2026-01-01T00:00:00+00:00","reason":""}]'


def rows(count: int) -> Iterator[tuple[Any, ...]]:
    chosen = random.Random(1)
    first = int((NOW - timedelta(days=730)).timestamp() * 1_000_000)
    step = 730 * 86400 * 1_000_000 // count
    for number in range(count):
        status = chosen.choice(_STATUSES)
        name = f"{chosen.choice(('img', 'report', 'scan', 'video'))}_{chosen.randrange(10**6):06}.bin"
        owner = f"user{chosen.randrange(1000)}" if number % 2 else ""
        media_type = "image/x-rare" if number == count // 2 else "application/octet-stream"
        at = first + number * step
        header = f"filename {format_base64(name.encode())}"
        ids = f"{chosen.getrandbits(128):032x}"
        yield (ids, "regular", status, 1, 1, 2, header, owner, at, at, at, _HISTORY, "[]", "{}", name, media_type)


def fill_sqlite(path: Path, count: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        marks = ", ".join("?" * 16)
        connection.executemany(f"INSERT INTO uploads ({_COLUMNS}) VALUES ({marks})", rows(count))
        for name, columns in INDEXES.items():
            connection.execute(f"CREATE INDEX {name} ON {columns}")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def fill_postgres(url: str, count: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        with connection.cursor().copy(f"COPY uploads ({_COLUMNS}) FROM STDIN") as copy:
            for row in rows(count):
                copy.write_row(row)
        for name, columns in INDEXES.items():
            connection.execute(f"CREATE INDEX {name} ON {columns}")
        connection.execute("VACUUM ANALYZE uploads")


def _days_ago(days: int) -> int:
    return int((NOW - timedelta(days=days)).timestamp()) * 1_000_000


FILTERS = {
    "all": UploadFilter(),
    "ready": UploadFilter(statuses=frozenset({Status.READY})),
    "failed (1 in 1000)": UploadFilter(statuses=frozenset({Status.FAILED})),
    "moved (none)": UploadFilter(statuses=frozenset({Status.MOVED})),
    "one day of last year": UploadFilter(created_from=_days_ago(400), created_before=_days_ago(399)),
    "one owner": UploadFilter(owner="user7"),
    "one owner, failed": UploadFilter(owner="user7", statuses=frozenset({Status.FAILED})),
    "one owner, by name": UploadFilter(owner="user7", name_prefix="img_1"),
    "without owner": UploadFilter(owner=""),
    "name, 1 in 40": UploadFilter(name_prefix="img_1"),
    "name, 1 in 4": UploadFilter(name_prefix="img"),
    "name, one": UploadFilter(name_prefix="img_123456"),
    "name, failed": UploadFilter(name_prefix="img", statuses=frozenset({Status.FAILED})),
    "type, all": UploadFilter(declared_type="application/octet-stream"),
    "type, one": UploadFilter(declared_type="image/x-rare"),
    "detected type (none)": UploadFilter(detected_type="image/png"),
}


async def measure_lists(records: Records, rounds: int) -> None:
    print(f"{'list':<24}{'first p50':>11}{'first max':>11}{'next p50':>11}{'next max':>11}{'rows':>7}")
    for name, wanted in FILTERS.items():
        first: list[float] = []
        following: list[float] = []
        count = 0
        for _ in range(rounds):
            after: PageKey | None = None
            for page_number in range(4):
                began = time.perf_counter()
                page = await records.search(wanted, LIMIT, after)
                (following if page_number else first).append((time.perf_counter() - began) * 1000)
                count = max(count, len(page.uploads))
                after = page.next
                if after is None:
                    break
        print(f"{name:<24}{_figures(first)}{_figures(following or first)}{count:>7}")


def _figures(milliseconds: Sequence[float]) -> str:
    return f"{statistics.median(milliseconds):>8.1f} ms{max(milliseconds):>8.1f} ms"


async def measure_creations(records: Records, count: int) -> float:
    """Microseconds of CPU for each record inserted, 64 at a time."""
    uploads = [_created(number) for number in range(count)]
    began = time.process_time()
    for start in range(0, count, 64):
        await asyncio.gather(*(records.insert(upload) for upload in uploads[start : start + 64]))
    return (time.process_time() - began) / count * 1_000_000


def _created(number: int) -> Upload:
    name = f"img_{random.randrange(10**6):06}.bin"
    return Upload(
        id=f"{random.getrandbits(128):032x}",
        length=100,
        metadata_header=f"filename {format_base64(name.encode())},filetype aW1hZ2UvcG5n",
        created_at=NOW,
        updated_at=NOW + timedelta(microseconds=number),
        history=(HistoryEntry(Status.UPLOADING, NOW),),
    )


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--creations", type=int, default=6400)
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "records.sqlite3")
        url = new_database() if options.postgres else f"sqlite:///{path}"
        bring_up_to_date(url)
        if options.postgres:
            fill_postgres(url, options.uploads)
        else:
            fill_sqlite(path, options.uploads)
        database = await SqlDatabase.open(url)
        await measure_lists(database.records, options.rounds)
        found: dict[str, list[float]] = {"with": [], "without": []}
        for _ in range(5):
            for kind in found:
                await _set_indexes(url, path, exist=kind == "with")
                found[kind].append(await measure_creations(database.records, options.creations))
        await database.close()
    for kind, microseconds in found.items():
        print(f"creation {kind} indexes: {statistics.median(microseconds):.1f} us of CPU of this process")
    return 0


async def _set_indexes(url: str, path: Path, *, exist: bool) -> None:
    statements = [f"DROP INDEX IF EXISTS {name}" for name in INDEXES]
    if exist:
        statements = [f"CREATE INDEX IF NOT EXISTS {name} ON {columns}" for name, columns in INDEXES.items()]
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(path)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        with psycopg.connect(url, autocommit=True) as server:
            for statement in statements:
                server.execute(statement)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
