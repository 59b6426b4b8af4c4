"""Closed endpoints on SQLite."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tusd_py.model.jobs import ClosedEndpoint
from tusd_py.records.sql.database import SqlDatabase

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, tzinfo=UTC)


async def test_endpoint_is_open_until_closed_and_after_opened(tmp_path: Path) -> None:
    """A closed endpoint is found by name and listed by name until it is opened; closing again changes nothing."""
    url = f"sqlite:///{tmp_path}/records.sqlite3"
    database = await SqlDatabase.open(url)
    states = database.endpoint_states
    assert await states.find_closed("b") is None
    assert not await states.open_endpoint("b")
    await states.close_endpoint("b", "answered 410", NOW)
    await states.close_endpoint("b", "another reason", NOW + timedelta(days=1))
    await states.close_endpoint("a", "answered 410", NOW)
    closed = [ClosedEndpoint(name=name, reason="answered 410", since=NOW) for name in ("a", "b")]
    await database.close()
    database = await SqlDatabase.open(url)
    states = database.endpoint_states
    assert await states.list_closed() == closed
    assert await states.find_closed("b") == closed[1]
    assert await states.open_endpoint("b")
    assert not await states.open_endpoint("b")
    assert await states.list_closed() == closed[:1]
    await database.close()
