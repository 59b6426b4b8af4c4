"""Closed endpoints on SQLite."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tusd_py.contracts.endpoint_states import DISPATCH
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


async def test_concurrent_closes_close_once(tmp_path: Path) -> None:
    """Of eight calls at once, one has closed the endpoint."""
    database = await SqlDatabase.open(f"sqlite:///{tmp_path}/records.sqlite3")
    states = database.endpoint_states
    calls = (states.close_endpoint("a", "answered 410", NOW) for _ in range(8))
    assert sorted(await asyncio.gather(*calls)) == [False] * 7 + [True]
    await database.close()


async def test_failure_is_kept_until_cleared(tmp_path: Path) -> None:
    """A failure keeps its time when its reason changes, and is no closed endpoint."""
    database = await SqlDatabase.open(f"sqlite:///{tmp_path}/records.sqlite3")
    states = database.endpoint_states
    await states.report_failure(DISPATCH, "away", NOW)
    await states.report_failure(DISPATCH, "refuses", NOW + timedelta(days=1))
    assert await states.find_failure(DISPATCH) == ClosedEndpoint(name=DISPATCH, reason="refuses", since=NOW)
    assert await states.list_closed() == []
    assert not await states.open_endpoint(DISPATCH)
    await states.clear_failure(DISPATCH)
    assert await states.find_failure(DISPATCH) is None
    await database.close()
