"""A process that shares a database with others, for ``test_records``: ``python another_process.py ACT URL COUNT``."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

from tusd_py.contracts.records import RecordConflict
from tusd_py.model.upload import Upload
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.records import SqlRecords

NOW = datetime(2026, 3, 1, tzinfo=UTC)


async def advance(records: SqlRecords, upload_id: str, count: int) -> None:
    """Advance the upload ``count`` times by one byte, reading it again after each conflict."""
    while count:
        before = await records.find(upload_id)
        assert before is not None
        try:
            await records.update(before, before.advance(before.offset + 1, NOW))
            count -= 1
        except RecordConflict:
            continue


async def add(records: SqlRecords, name: str, count: int) -> None:
    """Insert ``count`` uploads; print each id as soon as it is recorded."""
    for number in range(count):
        await records.insert(Upload(id=f"{name}-{number}", length=1, created_at=NOW, updated_at=NOW))
        print(f"{name}-{number}", flush=True)


async def main(act: str, url: str, count: int) -> None:
    records = (await SqlDatabase.open(url)).records
    if act == "advance":
        await asyncio.gather(*(advance(records, "shared", count) for _ in range(4)))
    else:
        await asyncio.gather(*(add(records, f"{number}", count) for number in range(8)))
    await records.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
