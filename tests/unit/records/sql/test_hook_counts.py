"""The totals of delivered hooks, on both databases."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.postgres import empty_database
from tusd_py.contracts.hook_counts import HookCount
from tusd_py.model.hooks import Hook
from tusd_py.records.sql.database import SqlDatabase

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/records.sqlite3" if request.param == "sqlite" else empty_database()


async def test_counts_are_added_up_and_kept(database_url: str) -> None:
    """By hook, also when many workers add at once."""
    database = await SqlDatabase.open(database_url)
    counts = database.hook_counts
    assert {} == await counts.totals()
    await asyncio.gather(*(counts.add(Hook.POST_FINISH, HookCount(3, 1)) for _ in range(8)))
    await counts.add(Hook.POST_CREATE, HookCount(1, 0))
    await database.close()
    database = await SqlDatabase.open(database_url)
    assert {Hook.POST_FINISH: (24, 8), Hook.POST_CREATE: (1, 0)} == await database.hook_counts.totals()
    await database.close()
