"""The mark of the store in each database."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.records import an_upload
from tusd_py.records.sql.database import SqlDatabase

pytestmark = pytest.mark.anyio


async def test_one_mark_for_all_processes(url: str) -> None:
    """Of several processes that add a mark at once, one succeeds; it can be replaced."""
    databases = [await SqlDatabase.open(url) for _ in range(2)]
    try:
        assert "" == await databases[0].store_marks.find()
        found = await asyncio.gather(*(each.store_marks.find_or_add(f"m{n}") for n, each in enumerate(databases * 3)))
        assert len(set(found)) == 1
        await databases[0].store_marks.replace("new")
        assert "new" == await databases[1].store_marks.find()
    finally:
        for database in databases:
            await database.close()


async def test_whether_any_bytes_are_recorded(url: str) -> None:
    """Uploads without a byte do not count."""
    database = await SqlDatabase.open(url)
    try:
        await database.records.insert(an_upload("a"))
        assert not await database.store_marks.has_bytes()
        await database.records.insert(an_upload("b", offset=1))
        assert await database.store_marks.has_bytes()
    finally:
        await database.close()
