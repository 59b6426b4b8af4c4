"""Which credentials each route of the API admits: the whole list of routes, on a running server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.client import request
from tests.support.grants import ADMIN, ALICE, call, made, start
from tests.support.server import RunningServer
from tests.support.tokens import bearer
from tusd_py.web.api.routes import ROUTES

pytestmark = pytest.mark.anyio

EVERYBODY = "admin moderator uploader viewer roleless key code anonymous"
SUBJECTS = "admin moderator uploader viewer roleless key"  # those with a subject of their own
READERS = "admin moderator uploader viewer key"
OBSERVERS = "admin moderator viewer"
SHARERS = "admin moderator uploader"
#: The credentials that each route admits; all others are refused with 401 or 403. What it then does, with an id that
#: nothing has, is another matter. ``key`` is a key of an admin that is restricted to the verb ``inspect``.
ADMITTED: Mapping[str, str] = {
    "POST /api/auth/login": EVERYBODY,
    "POST /api/auth/refresh": EVERYBODY,
    "POST /api/auth/logout": EVERYBODY,
    "GET /api/auth/session": SUBJECTS,
    "POST /api/auth/password": "",  # only of accounts that have logged in
    "GET /api/accounts": "admin",
    "POST /api/accounts": "admin",
    "GET /api/accounts/{name}": "admin",
    "PATCH /api/accounts/{name}": "admin",
    "DELETE /api/accounts/{name}": "admin",
    "GET /api/keys": SUBJECTS,
    "POST /api/keys": "admin moderator uploader viewer roleless",  # with at most their own roles
    "DELETE /api/keys/{key_id}": SUBJECTS,
    "GET /api/uploads": READERS,
    "GET /api/uploads/{upload_id}": SUBJECTS,
    "DELETE /api/uploads/{upload_id}": SUBJECTS,
    "GET /api/uploads/{upload_id}/metadata": SUBJECTS,
    "GET /api/uploads/{upload_id}/content": SUBJECTS,
    "GET /api/uploads/{upload_id}/parts": SUBJECTS,
    "GET /api/uploads/{upload_id}/events": SUBJECTS,
    "GET /api/uploads/{upload_id}/jobs": OBSERVERS,
    "POST /api/sessions": SHARERS,
    "GET /api/sessions": READERS,
    "GET /api/sessions/{session_id}": SUBJECTS,
    "DELETE /api/sessions/{session_id}": SUBJECTS,
    "GET /api/sessions/{session_id}/chunks": SUBJECTS,
    "PUT /api/sessions/{session_id}/chunks/{index}": SUBJECTS,
    "POST /api/sessions/{session_id}/finalize": SUBJECTS,
    "GET /api/quota": SUBJECTS,
    "GET /api/quotas/{subject:path}": OBSERVERS,
    "PUT /api/quotas/{subject:path}": "admin",
    "PATCH /api/quotas/{subject:path}": "admin",
    "DELETE /api/quotas/{subject:path}": "admin",
    "GET /api/jobs": OBSERVERS,
    "POST /api/jobs/retry": "admin",
    "POST /api/jobs/drop": "admin",
    "GET /api/jobs/{job_id}": OBSERVERS,
    "DELETE /api/jobs/{job_id}": "admin",
    "POST /api/jobs/{job_id}/retry": "admin",
    "GET /api/events": OBSERVERS,
    "GET /api/endpoints": OBSERVERS,
    "POST /api/endpoints/{name:path}/open": "admin",
    "GET /api/health": OBSERVERS,
    "GET /api/upload-links": SHARERS,
    "POST /api/upload-links": SHARERS,
    "GET /api/upload-links/{link_id}": SHARERS,
    "DELETE /api/upload-links/{link_id}": SHARERS,
    "GET /api/download-links": SHARERS,
    "POST /api/download-links": SHARERS,
    "GET /api/download-links/{link_id}": SHARERS,
    "DELETE /api/download-links/{link_id}": SHARERS,
    "GET /api/codes": SHARERS,
    "POST /api/codes": SHARERS,
    "POST /api/codes/redeem": EVERYBODY,
    "POST /api/codes/renew": EVERYBODY,
    "GET /api/codes/{code_id}": f"{SUBJECTS} code",
    "GET /api/codes/{code_id}/events": f"{SUBJECTS} code",
    "POST /api/codes/{code_id}/add-time": SUBJECTS,
    "POST /api/codes/{code_id}/terminate": SUBJECTS,
    "GET /api/audit": "admin",
    "GET /api/schedules": OBSERVERS,
    "POST /api/schedules/{name}/run": "admin",
}
#: What anonymous clients may use besides, where they may upload.
ANONYMOUS_ALL = {
    "POST /api/sessions",
    "GET /api/sessions/{session_id}",
    "DELETE /api/sessions/{session_id}",
    "GET /api/sessions/{session_id}/chunks",
    "PUT /api/sessions/{session_id}/chunks/{index}",
    "POST /api/sessions/{session_id}/finalize",
    "GET /api/quota",
}
BODIES = {"POST /api/sessions": b'{"file_name": "a", "file_size": 1, "chunk_count": 1}'}
EVERYTHING = {
    "ACCOUNTS__ENABLED": "true",
    "ACCOUNTS__API_KEYS": "true",
    "QUOTAS__ENABLED": "true",
    "AUDIT__ENABLED": "true",
}


def test_every_route_is_in_the_table() -> None:
    """A new route has to be given its rows."""
    assert sorted(ADMITTED) == sorted(f"{route.method} {route.path}" for route in ROUTES)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start(tmp_path_factory.mktemp("routes") / "data", **EVERYTHING)
    yield running
    running.stop()


async def is_admitted(server: RunningServer, route: str, headers: Mapping[str, str]) -> bool:
    method, path = route.split()
    for name, value in (("{subject:path}", "user:x"), ("{name:path}", "x"), ("{index}", "0"), ("{job_id}", "999999")):
        path = path.replace(name, value)
    path = re.sub(r"\{\w+\}", "0" * 32, path)
    body = BODIES.get(route, b"{}") if method in ("POST", "PUT", "PATCH") else None
    answer = await request(method, server.root + path, {**headers, "Content-Type": "application/json"}, body)
    assert answer.status < 500, (route, answer)
    code = json.loads(answer.body)["code"] if answer.status >= 400 else ""
    return code not in ("ERR_UNAUTHENTICATED", "ERR_ACCESS_DENIED")


async def test_each_route_admits_what_the_table_says(server: RunningServer) -> None:
    """Every role, a restricted key, the bearer of a code, and nobody: 401 or 403 wherever the table has no entry."""
    code = await made(server, "codes", ALICE)
    redeemed = json.loads((await call(server, "POST", "codes/redeem", {"code": code["code"]}, {})).body)
    key = json.loads((await call(server, "POST", "keys", {"roles": ["admin"], "verbs": ["inspect"]}, ADMIN)).body)
    roles = {role: bearer(f"a {role}", roles=[role]) for role in ("admin", "moderator", "uploader", "viewer")}
    roles["roleless"] = bearer("a person", roles=[])
    roles["code"] = {"Authorization": f"Bearer {redeemed['token']}"}
    roles["key"] = {"Authorization": f"Bearer {key['key']}"}
    roles["anonymous"] = {}
    seen: dict[str, set[str]] = {}
    for route in ADMITTED:
        seen[route] = {role for role in roles if await is_admitted(server, route, roles[role])}
    assert seen == {route: set(admitted.split()) for route, admitted in ADMITTED.items()}


@pytest.mark.long
async def test_anonymous_clients_that_may_upload(tmp_path: Path) -> None:
    """They use sessions and see their quota, and nothing else that needs credentials."""
    server = start(tmp_path / "data", ACCESS__ANONYMOUS="all", **EVERYTHING)
    try:
        seen = {route for route in ADMITTED if await is_admitted(server, route, {})}
        assert seen == ANONYMOUS_ALL | {route for route, admitted in ADMITTED.items() if "anonymous" in admitted}
    finally:
        server.stop()
