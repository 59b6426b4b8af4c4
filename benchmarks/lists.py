"""``python -m benchmarks.lists``: lists among two million uploads, and what their indexes cost a creation.

Uploads, entries of the audit log (as many), links and sessions in chunks (a tenth of that) are made by SQL, then read
through the contracts as the API reads them, on SQLite, or on PostgreSQL with fsync off (``--postgres``).
Of each list the first page and the three that follow it are read. CPU times are those of the process: beside other work
they say more than how long a page took. The cost of a creation is the CPU time of the process
for records inserted through the group commit, in turn with and without the indexes, and with entries of the audit log.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from tests.support.postgres import new_database
from tusd_py.contracts.records import Records
from tusd_py.model.audit import AuditEntry, AuditFilter, AuditKind, AuditOutcome
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.links import LinkKind
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


def audit_rows(count: int) -> Iterator[tuple[Any, ...]]:
    chosen = random.Random(2)
    first = int((NOW - timedelta(days=730)).timestamp() * 1_000_000)
    step = 730 * 86400 * 1_000_000 // count
    for number in range(count):
        subject = f"user{chosen.randrange(1000)}" if number % 2 else ""
        address = f"192.0.2.{chosen.randrange(200)}"
        verb, kind, outcome = ("finish" if number % 2 else "create"), "upload", "done"
        if number % 1000 == 0:
            verb, kind = "login", "session"
        elif number % 1000 == 1:
            verb, outcome = "terminate", "refused"
        object_id = f"{chosen.getrandbits(128):032x}"
        yield (first + number * step, subject, "jwt", verb, kind, object_id, outcome, address, "", object_id)


def link_rows(count: int) -> Iterator[tuple[Any, ...]]:
    first = int((NOW - timedelta(days=730)).timestamp() * 1_000)
    for number in range(count):
        at = first + number
        kind = "download" if number % 3 == 0 else "upload"
        link_id = f"{at:012x}{number:016x}"
        times = (at * 1000, (at + 10**6) * 1000)
        yield (link_id, kind, "u", f"user{number % 1000}", *times, "[]", "[]", False, False, "", 0)


def session_rows(count: int) -> Iterator[tuple[Any, ...]]:
    first = int((NOW - timedelta(days=730)).timestamp() * 1_000_000)
    for number in range(count):
        yield (f"{random.getrandbits(128):032x}", f"user{number % 1000}", 5, 1, first + number * 1000)


#: The other tables: their columns, and what makes rows.
OTHERS: dict[str, tuple[str, Callable[[int], Iterator[tuple[Any, ...]]]]] = {
    "audit_entries": ("at, subject, method, verb, kind, object_id, outcome, address, reason, salt", audit_rows),
    "links": (
        "id, kind, upload_id, owner, created_at, expires_at, types, origins, may_download, is_single_use, claim, "
        "bytes_sent",
        link_rows,
    ),
    "upload_sessions": ("id, owner, length, chunk_count, created_at", session_rows),
}


def fill_sqlite(path: Path, count: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        marks = ", ".join("?" * 16)
        connection.executemany(f"INSERT INTO uploads ({_COLUMNS}) VALUES ({marks})", rows(count))
        for name, columns in INDEXES.items():
            connection.execute(f"CREATE INDEX {name} ON {columns}")
        for table, (columns, make) in OTHERS.items():
            marks = ", ".join("?" * len(columns.split(",")))
            number = count if table == "audit_entries" else count // 10
            connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", make(number))
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def fill_postgres(url: str, count: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        with connection.cursor().copy(f"COPY uploads ({_COLUMNS}) FROM STDIN") as copy:
            for row in rows(count):
                copy.write_row(row)
        for name, columns in INDEXES.items():
            connection.execute(f"CREATE INDEX {name} ON {columns}")
        for table, (columns, make) in OTHERS.items():
            with connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in make(count if table == "audit_entries" else count // 10):
                    copy.write_row(row)
        connection.execute("VACUUM ANALYZE")


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


AUDIT_FILTERS = {
    "audit: all": AuditFilter(),
    "audit: create (all)": AuditFilter(verb="create"),
    "audit: login (1 in 1000)": AuditFilter(verb="login"),
    "audit: verb (none)": AuditFilter(verb="erase"),
    "audit: refused": AuditFilter(outcome=AuditOutcome.REFUSED),
    "audit: failed (none)": AuditFilter(outcome=AuditOutcome.FAILED),
    "audit: sessions": AuditFilter(kind=AuditKind.SESSION),
    "audit: one address": AuditFilter(address="192.0.2.7"),
    "audit: address (none)": AuditFilter(address="192.0.2.255"),
    "audit: one subject": AuditFilter(subject="user7"),
    "audit: one upload": AuditFilter(object_id="none"),
    "audit: a day of last year": AuditFilter(since=NOW - timedelta(days=400), until=NOW - timedelta(days=399)),
    "audit: address, long ago": AuditFilter(address="192.0.2.7", until=NOW - timedelta(days=700)),
    "audit: refused, old": AuditFilter(outcome=AuditOutcome.REFUSED, until=NOW - timedelta(days=700)),
    "audit: address, refused": AuditFilter(address="192.0.2.7", outcome=AuditOutcome.REFUSED),
    "audit: subject, none": AuditFilter(subject="user7", verb="erase"),
    "audit: create, refused": AuditFilter(verb="create", kind=AuditKind.UPLOAD, outcome=AuditOutcome.FAILED),
}

#: Reads the page after a place (``None``: the first one); returns how many rows it has, and where the next one begins.
ReadPage = Callable[[Any], Awaitable[tuple[int, Any]]]


def lists_of(database: SqlDatabase) -> Iterator[tuple[str, ReadPage]]:
    for name, wanted in FILTERS.items():
        yield name, partial(_uploads_page, database, wanted)
    for name, matching in AUDIT_FILTERS.items():
        yield name, partial(_audit_page, database, matching)
    for owner in ("", "user7"):
        yield f"links{' of one owner' if owner else ''}", partial(_links_page, database, owner)
        yield f"sessions{' of one owner' if owner else ''}", partial(_sessions_page, database, owner or None)


async def _uploads_page(database: SqlDatabase, wanted: UploadFilter, after: PageKey | None) -> tuple[int, Any]:
    page = await database.records.search(wanted, LIMIT, after)
    return len(page.uploads), page.next


async def _audit_page(database: SqlDatabase, matching: AuditFilter, before: int | None) -> tuple[int, Any]:
    page = await database.audit_log.search(matching, before=before, limit=LIMIT)
    return len(page.entries), page.next


async def _links_page(database: SqlDatabase, owner: str, before_id: str | None) -> tuple[int, Any]:
    found = await database.links.list_links(LinkKind.UPLOAD, owner=owner, before_id=before_id or "", limit=LIMIT)
    return len(found), found[-1].id if len(found) == LIMIT else None


async def _sessions_page(database: SqlDatabase, owner: str | None, after: tuple[int, str] | None) -> tuple[int, Any]:
    found = await database.upload_sessions.page(owner=owner, after=after, limit=LIMIT)
    last = found[-1] if len(found) == LIMIT else None
    return len(found), None if last is None else (int(last.created_at.timestamp() * 1_000_000), last.id)


async def measure_lists(database: SqlDatabase, rounds: int) -> None:
    print(f"{'list':<28}{'p50':>11}{'p99':>11}{'CPU p50':>11}{'CPU p99':>11}{'rows':>7}{'pages':>7}")
    for name, read in lists_of(database):
        times: list[float] = []
        cpu_times: list[float] = []
        rows = 0
        for _ in range(rounds):
            after: Any = None
            for _ in range(4):
                began, cpu_began = time.perf_counter(), time.process_time()
                count, after = await read(after)
                cpu_times.append(time.process_time() - cpu_began)
                times.append(time.perf_counter() - began)
                rows = max(rows, count)
                if after is None:
                    break
        figures = [each for seconds in (times, cpu_times) for each in (statistics.median(seconds), _p99(seconds))]
        print(f"{name:<28}{''.join(f'{each * 1000:>8.1f} ms' for each in figures)}{rows:>7}{len(times):>7}", flush=True)


def _p99(seconds: Sequence[float]) -> float:
    return sorted(seconds)[max(0, math.ceil(len(seconds) * 0.99) - 1)]


async def measure_creations(records: Records, count: int, *, audited: bool = False) -> float:
    """Microseconds of CPU for each record inserted, 64 at a time."""
    uploads = [_created(number) for number in range(count)]
    effects = [_audit_effects(upload) if audited else NO_EFFECTS for upload in uploads]
    began = time.process_time()
    for start in range(0, count, 64):
        some = slice(start, start + 64)
        await asyncio.gather(*(records.insert(*each) for each in zip(uploads[some], effects[some], strict=True)))
    return (time.process_time() - began) / count * 1_000_000


def _audit_effects(upload: Upload) -> Effects:
    address = f"192.0.2.{random.randrange(255)}"
    entry = AuditEntry(
        at=upload.updated_at,
        subject=f"user{random.randrange(1000)}",
        method="jwt",
        verb="create",
        kind=AuditKind.UPLOAD,
        object_id=upload.id,
        address=address,
    )
    return Effects(audit=(entry,))


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
    parser.add_argument("--rounds", type=int, default=50)
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
        await measure_lists(database, options.rounds)
        found: dict[str, list[float]] = {"with indexes": [], "without indexes": [], "audited, with indexes": []}
        for _ in range(5 if options.creations else 0):
            for kind, figures in found.items():
                await _set_indexes(url, path, exist=kind != "without indexes")
                audited = kind.startswith("audited")
                figures.append(await measure_creations(database.records, options.creations, audited=audited))
        await database.close()
    for kind, microseconds in found.items():
        if microseconds:
            print(f"creation {kind}: {statistics.median(microseconds):.1f} us of CPU of this process")
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
