"""The JSON API with records in memory: refusals without a database, and responses that may not be cached."""

from __future__ import annotations

import json

import pytest
from starlette.applications import Starlette

from tests.support.harness import UploadsHarness
from tests.unit.web.asgi import ask
from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.uploads.ports import Ports
from tusd_py.web.api.routes import ROUTES, api_routes

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
    answer = await ask(Starlette(routes=api_routes(UploadsHarness().open_ports)), method, path)
    assert (answer.status, answer.headers["cache-control"]) == (404, "no-store")
    assert "records.url" in json.loads(answer.body)["error"]


async def test_unknown_upload_404() -> None:
    """An unknown id is refused with a problem document, whose ``error`` is the sentence as in earlier versions."""
    answer = await ask(Starlette(routes=api_routes(UploadsHarness().open_ports)), "GET", "/api/uploads/none")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    assert json.loads(answer.body) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "no upload has this id",
        "code": "ERR_UPLOAD_NOT_FOUND",
        "error": "no upload has this id",
    }


async def test_failing_records_503() -> None:
    """If the records fail, the client may try again; why they fail is only in the log."""

    async def ports() -> Ports:
        raise RecordsUnavailable("no connection to 10.0.0.7")

    answer = await ask(Starlette(routes=api_routes(ports)), "GET", "/api/uploads/none")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert json.loads(answer.body)["code"] == "ERR_UNAVAILABLE"
    assert b"10.0.0.7" not in answer.body


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nothing", "/api/uploads/a/b", "/api/jobs/1/", "/api/a\nb/c"])
async def test_unknown_path_404(path: str) -> None:
    """Paths without a resource are refused as problems, also with a final slash; nothing is redirected."""
    answer = await ask(Starlette(routes=api_routes(UploadsHarness().open_ports)), "GET", path)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


def test_no_route_stands_twice() -> None:
    """Each method of each path has one answer."""
    found = [(route.method, route.path) for route in ROUTES]
    assert sorted(set(found)) == sorted(found)
