"""A separate origin for downloads: browsers are sent there, no cookies count there, and nothing else is served."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from urllib.parse import urljoin, urlsplit

import pytest

from tests.support.client import TUS, Answer, request
from tests.support.server import RunningServer, start_server
from tests.support.tokens import SECRET, bearer, token

pytestmark = pytest.mark.anyio

ORIGIN = "http://content.example"
THERE = {"X-Forwarded-Host": "content.example", "X-Forwarded-Proto": "http"}
SETTINGS = {
    "JWT__SECRET": SECRET,
    "JWT__COOKIE": "app",
    "ACCESS__ANONYMOUS": "none",
    "LINKS__ENABLED": "true",
    "API__ENABLED": "true",
    "SERVER__TRUSTED_PROXIES": "127.0.0.1",
    "SERVER__DOWNLOAD_URL": f"{ORIGIN}/files/",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start_server(tmp_path_factory.mktemp("origin") / "data", settings=SETTINGS)
    yield running
    running.stop()


async def create(server: RunningServer, headers: Mapping[str, str]) -> str:
    body = {"Content-Type": "application/offset+octet-stream", "Upload-Length": "4"}
    answer = await request("POST", server.url, {**TUS, **headers, **body}, b"abcd")
    assert answer.status == 201, answer
    return urljoin(server.url, answer.headers["location"])


async def get(server: RunningServer, url: str, headers: Mapping[str, str]) -> Answer:
    """GET with the path and the query of ``url`` from the server under test."""
    parts = urlsplit(url)
    return await request("GET", f"{server.root}{parts.path}{'?' + parts.query if parts.query else ''}", headers)


async def test_browsers_are_sent_there(server: RunningServer) -> None:
    """With a cookie: a redirect with a token for this upload only, which works at the other origin without cookies."""
    url, other = await create(server, bearer("alice")), await create(server, bearer("alice"))
    cookie = {"Cookie": f"app={token('alice')}"}
    redirect = await get(server, url, cookie)
    assert (redirect.status, redirect.headers["cache-control"]) == (307, "no-store")
    target = redirect.headers["location"]
    assert target.startswith(f"{ORIGIN}{urlsplit(url).path}?download=")
    assert (await get(server, target, THERE)).body == b"abcd"
    query = urlsplit(target).query
    assert (await get(server, f"{other}?{query}", THERE)).status == 404
    assert (await get(server, f"{url}?{query[:-2]}", THERE)).status == 401
    # At the origin of the server the token is none.
    assert (await get(server, target, {})).status == 401
    assert (await get(server, url, {**cookie, **THERE})).status == 401
    foreign = {"Cookie": f"app={token('bob')}"}
    assert (await get(server, url, foreign)).status == 404


async def test_programs_get_the_bytes_everywhere(server: RunningServer) -> None:
    """What is sent with Authorization is displayed by no browser."""
    url = await create(server, bearer("alice"))
    for headers in ({}, THERE):
        assert (await get(server, url, {**bearer("alice"), **headers})).body == b"abcd"


async def test_the_password_of_a_proxy_is_no_token_307(server: RunningServer) -> None:
    """A browser adds a password (Basic) by itself, also beside the cookie: its user is sent to the other origin."""
    url = await create(server, bearer("alice"))
    headers = {"Cookie": f"app={token('alice')}", "Authorization": "Basic eDp5"}
    answer = await get(server, url, headers)
    assert (answer.status, answer.headers["location"].startswith(ORIGIN)) == (307, True)


async def test_download_links_lead_there(server: RunningServer) -> None:
    """A download link has the URL of that origin, and is sent there if somebody uses it at the other one."""
    url = await create(server, bearer("alice"))
    body = json.dumps({"upload_id": url.rsplit("/", 1)[1]}).encode()
    headers = {**bearer("alice"), "Content-Type": "application/json"}
    made = await request("POST", f"{server.root}/api/download-links", headers, body)
    link = json.loads(made.body)["url"]
    assert link.startswith(f"{ORIGIN}{urlsplit(url).path}?link=")
    assert (await get(server, link, THERE)).body == b"abcd"
    assert (await get(server, link, {})).headers["location"] == link


async def test_nothing_else_is_served_there_421(server: RunningServer) -> None:
    """Neither the page, the API nor uploads: only content, its head, and health checks."""
    url = await create(server, bearer("alice"))
    for path in ("/", "/api/quota", "/metrics"):
        assert (await request("GET", server.root + path, {**THERE, **bearer("alice")})).status == 421
    for method in ("PATCH", "DELETE"):
        answer = await request(method, url, {**TUS, **THERE, **bearer("alice"), "Upload-Offset": "4"}, None)
        assert answer.status in (415, 421), answer
    created = await request("POST", server.url, {**TUS, **THERE, **bearer("alice"), "Upload-Length": "1"}, b"")
    assert created.status == 421
    assert (await request("HEAD", url, {**TUS, **THERE, **bearer("alice")})).status == 200
    assert (await request("GET", f"{server.root}/healthz", THERE)).status == 200
