"""The signing key of each database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from tusd_py.records.sql.database import SqlDatabase

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def test_one_secret_for_all_processes(url: str) -> None:
    """Of several processes that create the secret at once, one succeeds, and all get the same one."""
    databases = [await SqlDatabase.open(url) for _ in range(2)]
    try:
        made = [
            each.signing_keys.find_or_create("default", f"secret {number}", NOW)
            for number, each in enumerate(databases * 5)
        ]
        found = await asyncio.gather(*made)
        assert len(set(found)) == 1
        assert await databases[0].signing_keys.find_or_create("default", "another", NOW) == found[0]
    finally:
        for database in databases:
            await database.close()
