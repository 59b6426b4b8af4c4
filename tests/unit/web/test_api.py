"""The JSON API with records in memory: refusals without a database, and responses that may not be cached."""

from __future__ import annotations

import json

import pytest
from starlette.applications import Starlette

from tests.support.harness import UploadsHarness
from tests.unit.web.asgi import ask
from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.uploads.ports import Ports
from tusd_py.web.api import api_routes

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/jobs"),
        ("GET", "/api/jobs/1"),
        ("DELETE", "/api/jobs/1"),
        ("POST", "/api/jobs/1/retry"),
        ("GET", "/api/events"),
    ],
)
async def test_jobs_and_events_need_a_database_404(method: str, path: str) -> None:
    """Records in memory have no jobs and events: the sentence names the setting."""
    harness = UploadsHarness()

    async def ports() -> Ports:
        return harness.ports

    answer = await ask(Starlette(routes=api_routes(ports)), method, path)
    assert (answer.status, answer.headers["cache-control"]) == (404, "no-store")
    assert "records.url" in json.loads(answer.body)["error"]


async def test_unknown_upload_404() -> None:
    """An unknown id is refused with a sentence."""
    harness = UploadsHarness()

    async def ports() -> Ports:
        return harness.ports

    answer = await ask(Starlette(routes=api_routes(ports)), "GET", "/api/uploads/none")
    assert (answer.status, json.loads(answer.body)) == (404, {"error": "no upload has this id"})


async def test_failing_records_503() -> None:
    """If the records fail, the response says why and that the client may try again."""

    async def ports() -> Ports:
        raise RecordsUnavailable("no connection")

    answer = await ask(Starlette(routes=api_routes(ports)), "GET", "/api/uploads/none")
    assert (answer.status, json.loads(answer.body)) == (
        503,
        {"error": "the request failed, try again later: no connection"},
    )
