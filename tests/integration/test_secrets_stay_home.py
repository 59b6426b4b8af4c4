"""Credentials in requests are not found in the database, logs, events, webhooks, metrics or the API."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import TUS, request
from tests.support.command import run
from tests.support.receiver import Answer, Receiver, receiving
from tests.support.server import RunningServer, start_server
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

SECRET = "Zx9-hunter2-Qq7"
FORWARDED = "Kk5-forwarded-Mm3"
HEADERS = {
    "Authorization": f"Bearer {SECRET}-authorization",
    "Proxy-Authorization": f"Basic {SECRET}-proxy",
    "Cookie": f"session={SECRET}-cookie",
    "X-Api-Key": f"{SECRET}-api-key",
    "X-Auth-Token": f"{SECRET}-auth-token",
    "X-Amz-Security-Token": f"{SECRET}-amz",
    "X-Forwarded-Access-Token": f"{SECRET}-access-token",
    "X-Forwarded-Uri": f"/files/?t={SECRET}-uri",
    "X-Csrf-Token": f"{SECRET}-csrf",
    "Referer": f"http://a.example/?t={SECRET}-referer",
    "X-Anything": f"{SECRET}-anything",
    "X-Tenant": FORWARDED,
}
METADATA = "filename " + b64encode(b"kept-as-content.bin").decode()


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def webhooks() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def server(hooks: Receiver, webhooks: Receiver, tmp_path: Path) -> Iterator[RunningServer]:
    endpoints = [
        {"name": body, "url": webhooks.url, "allow_private": True, "body": body} for body in ("envelope", "tusd")
    ]
    settings = {
        "HOOKS__HTTP_URLS": hooks.url,
        "HOOKS__HTTP_FORWARD_HEADERS": "X-Tenant",
        "HOOKS__ENABLED_EVENTS": "authorize,pre-create,post-create,pre-finish,post-finish,post-receive",
        "WEBHOOKS__ENDPOINTS": json.dumps(endpoints),
        "EVENTS__RECORD": "true",
        "API__ENABLED": "true",
        "METRICS__ENABLED": "true",
        "LOG__LEVEL": "debug",
    }
    running = start_server(tmp_path / "data", settings=settings)
    yield running
    running.kill()


async def exchange(server: RunningServer, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> int:
    """Send a request whose target and trailers the usual client would not send; return the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in {**TUS, **HEADERS, **headers}.items())
    writer.write(head.encode() + b"\r\n" + body)
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return int(answer.split(b" ", 2)[1])


async def send_secrets(server: RunningServer, hooks: Receiver) -> None:
    """A whole upload, a final one, and requests that are refused, each with credentials wherever a client has them."""
    query = f"?token={SECRET}-query#{SECRET}-fragment"
    userinfo = f"http://user:{SECRET}-userinfo@127.0.0.1:{server.port}"
    trailers = f"1\r\nx\r\n0\r\nX-Secret: {SECRET}-trailer\r\n\r\n".encode()
    chunked = {"Transfer-Encoding": "chunked", "Trailer": "X-Secret", "Content-Type": "application/offset+octet-stream"}
    create = {"Upload-Length": "1", "Upload-Metadata": METADATA}
    assert await exchange(server, "POST", f"{userinfo}/files/{query}", {**create, **chunked}, trailers) == 201
    partial = await request("POST", server.url, {**TUS, "Upload-Length": "0", "Upload-Concat": "partial"})
    part = partial.headers["location"].rsplit("/", 1)[1]
    concat = {"Upload-Concat": f"final;http://u:{SECRET}-part@127.0.0.1:{server.port}/files/{part}?t={SECRET}-concat"}
    assert await exchange(server, "POST", f"/files/{query}", concat) == 201
    assert await exchange(server, "GET", f"/files/nothing{query}", {}) == 404
    assert await exchange(server, "PATCH", f"/files/{part}{query}", {"Upload-Offset": SECRET}) == 400
    assert await exchange(server, "POST", f"/api/uploads{query}", {}) == 405
    hooks.answers["pre-create"] = Answer("no", status=500)
    assert await exchange(server, "POST", f"/files/{query}", create) == 500
    del hooks.answers["pre-create"]


async def test_secrets_are_in_nothing_that_is_stored_logged_or_sent_on(
    server: RunningServer, hooks: Receiver, webhooks: Receiver
) -> None:
    """Headers, query, userinfo, trailers and part URLs; only blocking hooks get them, and ``http_forward_headers``."""
    await send_secrets(server, hooks)
    await eventually(lambda: len(webhooks.of("post-finish")) >= 6 and len(hooks.of("post-finish")) >= 3)
    places = {
        f"{path}": (await request("GET", server.root + path)).body
        for path in ("/api/uploads", "/api/events", "/api/jobs", "/metrics", "/readyz")
    }
    assert b"post-finish" in places["/api/events"]
    tail = await asyncio.to_thread(run, "events", "tail", "--json", "--data-dir", str(server.data_dir))
    places["events tail"] = tail.output.encode()
    assert "post-finish" in tail.output
    stops = {"pre-create", "pre-finish", "authorize"}
    later = [call for call in hooks.calls if call.hook not in stops]
    for call in [*later, *webhooks.calls]:
        places[f"{call.hook} at {call.path}"] = call.raw + repr(call.headers).encode()
    server.stop()
    places["log"] = server.log.read_bytes()
    for file in server.data_dir.rglob("*"):
        if file.is_file():
            places[str(file)] = file.read_bytes()
    found = [place for place, content in places.items() if SECRET.encode() in content]
    assert not found
    assert any(b"kept-as-content" in content for content in places.values()), "metadata is content"
    assert any(call.header("x-tenant") == [FORWARDED] for call in later), "hooks get the headers they name"
    assert not [call for call in webhooks.calls if FORWARDED.encode() in call.raw], "and webhooks do not"


async def test_blocking_hooks_get_the_whole_request(server: RunningServer, hooks: Receiver) -> None:
    """As tusd sends it: every header, and the query."""
    assert await exchange(server, "POST", f"/files/?t={SECRET}", {"Upload-Length": "1"}) == 201
    [call] = hooks.of("pre-create")
    assert call.request["URI"] == f"/files/?t={SECRET}"
    assert {name.title() for name in HEADERS} <= {name.title() for name in call.request["Header"]}
