"""The databases that every contract of a table runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.postgres import empty_database
from tusd_py.records.sql.database import SqlDatabase


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty SQLite or PostgreSQL database."""
    return empty_database() if request.param == "postgresql" else f"sqlite:///{tmp_path}/records.sqlite3"


@pytest.fixture
async def database(url: str) -> AsyncIterator[SqlDatabase]:
    """The open database at ``url``."""
    opened = await SqlDatabase.open(url)
    yield opened
    await opened.close()
