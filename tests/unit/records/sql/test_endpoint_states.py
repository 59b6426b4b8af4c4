"""Closed endpoints, on both databases."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.postgres import empty_database
from tusd_py.contracts.endpoint_states import DISPATCH
from tusd_py.model.jobs import ClosedEndpoint
from tusd_py.records.sql.database import SqlDatabase

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/records.sqlite3" if request.param == "sqlite" else empty_database()


async def test_endpoint_is_open_until_closed_and_after_opened(database_url: str) -> None:
    """A closed endpoint is found by name and listed by name until it is opened; closing again changes nothing."""
    url = database_url
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


async def test_concurrent_closes_close_once(database_url: str) -> None:
    """Of eight calls at once, one has closed the endpoint."""
    database = await SqlDatabase.open(database_url)
    states = database.endpoint_states
    calls = (states.close_endpoint("a", "answered 410", NOW) for _ in range(8))
    assert sorted(await asyncio.gather(*calls)) == [False] * 7 + [True]
    await database.close()


async def test_failure_is_kept_until_cleared(database_url: str) -> None:
    """A failure keeps its time when its reason changes, and is no closed endpoint."""
    database = await SqlDatabase.open(database_url)
    states = database.endpoint_states
    await states.report_failure(DISPATCH, "away", NOW)
    await states.report_failure(DISPATCH, "refuses", NOW + timedelta(days=1))
    assert await states.find_failure(DISPATCH) == ClosedEndpoint(name=DISPATCH, reason="refuses", since=NOW)
    assert await states.list_closed() == []
    assert not await states.open_endpoint(DISPATCH)
    await states.clear_failure(DISPATCH)
    assert await states.find_failure(DISPATCH) is None
    await database.close()
