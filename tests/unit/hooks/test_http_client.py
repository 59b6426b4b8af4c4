"""The HTTP client of hooks: bounded in time and bytes whatever the server answers, with few connections."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.receiver import CUT, HANG, Answer, receiving
from tests.support.waiting import eventually
from tusd_py.hooks.http_client import (
    REFUSAL_BYTES_MAX,
    HttpClient,
    HttpResponse,
    RequestFailed,
    RequestHeaders,
    RequestInvalid,
    tls_context,
)
from tusd_py.model.caller import Caller

pytestmark = pytest.mark.anyio

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
BODY = b'{"Type":"pre-create"}'


@asynccontextmanager
async def client_for(url: str, *, verifies: bool = True, **more: Any) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """A function that posts to ``url``; the client is closed at the end."""
    client = HttpClient(tls_context(url, verifies=verifies), **more)

    async def post(timeout_seconds: float = 5, response_bytes_max: int = 5120) -> HttpResponse:
        headers = RequestHeaders(url).for_caller(None)
        return await client.post(
            url, headers, BODY, timeout_seconds=timeout_seconds, response_bytes_max=response_bytes_max
        )

    try:
        yield post
    finally:
        await client.close()


@asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The URL of a server that reads a request and lets ``serve`` answer it."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}/h"
    finally:
        server.close()
        await server.wait_closed()


async def test_connections_are_reused() -> None:
    """Sequential requests use one connection; concurrent ones as many as there are requests."""
    with receiving() as receiver:
        async with client_for(receiver.url) as post:
            for _ in range(5):
                assert (await post()).body == b"{}"
            assert len(receiver.connections) == 1
            await asyncio.gather(*(post() for _ in range(10)))
            assert 1 < len(receiver.connections) <= 11


async def test_close_closes_connections() -> None:
    """A closed client leaves no idle connection to the server."""
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        assert await reader.read() == b""
        ended.set()

    async with serving(answer) as url:
        async with client_for(url) as post:
            await post()
            assert not ended.is_set()
        await asyncio.wait_for(ended.wait(), 5)


async def test_concurrent_requests_are_limited() -> None:
    """At most ``requests_max`` at once; all are answered, also after many others were cancelled."""
    open_now, most = 0, 0
    go = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await go.wait()
        open_now -= 1
        writer.write(OK.replace(b"200 OK", b"200 OK\r\nConnection: close"))

    async with serving(answer) as url, client_for(url, requests_max=20) as post:
        cancelled = [asyncio.ensure_future(post()) for _ in range(40)]
        await eventually(lambda: open_now == 20)
        for request in cancelled:
            request.cancel()
        await asyncio.wait(cancelled)
        requests = [asyncio.ensure_future(post()) for _ in range(40)]
        await eventually(lambda: open_now == 40)
        go.set()
        assert {response.status for response in await asyncio.gather(*requests)} == {200}
        assert most == 40, "20 cancelled ones, which the server has not noticed, and 20 more"


async def test_a_timeout_covers_the_wait_for_a_slot() -> None:
    """A request that waits for others fails when its own time is over."""
    with receiving() as receiver:
        receiver.answers["pre-create"] = [HANG]
        async with client_for(receiver.url, requests_max=1) as post:
            first = asyncio.ensure_future(post(60))
            await eventually(lambda: len(receiver.calls) == 1)
            with pytest.raises(RequestFailed, match=r"^took more than 0\.2 seconds$"):
                await post(0.2)
            first.cancel()
            assert (await post()).status == 200


async def test_slow_and_endless_responses_are_bounded() -> None:
    """Neither a body that comes a byte at a time nor one that never ends occupies the client forever."""

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            writer.write(b" " * 65536)
            await writer.drain()

    async with serving(drip) as url, client_for(url) as post:
        with pytest.raises(RequestFailed, match="took more than"):
            await post(0.3)
    async with serving(flood) as url, client_for(url) as post:
        assert len((await post()).body) == 5120


async def test_little_is_read_of_a_refusal() -> None:
    """The body of a response outside 2xx is only quoted in the log."""
    with receiving() as receiver:
        receiver.answers["pre-create"] = Answer(raw=b"x" * 1_000_000, status=500)
        async with client_for(receiver.url) as post:
            response = await post(response_bytes_max=100_000)
    assert (response.status, response.is_success, len(response.body)) == (500, False, REFUSAL_BYTES_MAX)


@pytest.mark.parametrize("sent", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000])
async def test_what_is_not_http_fails(sent: bytes) -> None:
    """Nothing, another protocol, and a head without end."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)

    async with serving(answer) as url, client_for(url) as post:
        with pytest.raises(RequestFailed, match="gave no complete response: RemoteProtocolError"):
            await post()


async def test_cut_and_refused_connections_fail() -> None:
    """A response that ends early, and a port where no server listens."""
    with receiving() as receiver:
        receiver.answers["pre-create"] = CUT
        url = receiver.url
        async with client_for(url) as post:
            with pytest.raises(RequestFailed, match="gave no complete response"):
                await post()
    async with client_for(url) as post:
        with pytest.raises(RequestFailed, match="gave no complete response: ConnectError"):
            await post()


async def test_redirects_are_not_followed() -> None:
    """They are responses like any other."""
    with receiving() as receiver:
        receiver.answers["pre-create"] = Answer(status=307, headers=(("Location", receiver.url),))
        async with client_for(receiver.url) as post:
            assert (await post()).status == 307
        assert len(receiver.calls) == 1


async def test_cookies_are_not_kept() -> None:
    """Nothing that one response sets reaches the next request."""
    with receiving() as receiver:
        receiver.answers["pre-create"] = Answer(headers=(("Set-Cookie", "theirs=1"),))
        async with client_for(receiver.url) as post:
            assert (await post()).header(b"set-cookie") == "theirs=1"
            assert (await post()).header(b"absent") == ""
        assert receiver.calls[1].header("cookie") == []


@pytest.mark.parametrize(
    ("suffix", "path"),
    [
        ("", "/hooks"),
        ("?x=1", "/hooks?x=1"),
        ("/a%20b?y=%C3%A4", "/hooks/a%20b?y=%C3%A4"),
        ("/ä b", "/hooks/%C3%A4%20b"),
    ],
)
async def test_the_target_is_the_url(suffix: str, path: str) -> None:
    """The query is part of it; what is percent-encoded stays, what is not is encoded."""
    with receiving() as receiver:
        async with client_for(receiver.url + suffix) as post:
            await post()
        [call] = receiver.calls
        host = receiver.url.split("/")[2]
        assert (call.method, call.path, call.raw, call.header("host")) == ("POST", path, BODY, [host])
        assert call.header("content-length") == [str(len(BODY))]


CALLER = Caller(
    remote_address="", method="PATCH", target="/", headers=[(b"cookie", b"a=\xff"), (b"x", b"1"), (b"x", b"2")]
)


def values(headers: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in headers if key == name]


def test_url_credentials_are_sent() -> None:
    """As Basic authentication, with percent-encoding undone."""
    headers = RequestHeaders("http://me:a%3Ab@h/x").for_caller(None)
    assert values(headers, b"Authorization") == [b"Basic bWU6YTpi"]
    assert not values(RequestHeaders("http://h/x").for_caller(None), b"Authorization")


def test_forwarded_credentials_replace_those_of_the_url() -> None:
    """The server reads one Authorization: the client's if it sent one, else that of the URL."""
    headers = RequestHeaders("http://me:pw@h/x", ["Authorization"])
    client = Caller(remote_address="", method="PATCH", target="/", headers=[(b"authorization", b"Bearer x")])
    assert values(headers.for_caller(client), b"Authorization") == [b"Bearer x"]
    assert values(headers.for_caller(CALLER), b"Authorization") == [b"Basic bWU6cHc="]


async def test_failures_do_not_quote_headers() -> None:
    """A value that HTTP does not allow may be a credential, and the text of a failure is stored with the job."""
    with receiving() as receiver:
        client = HttpClient(tls_context(receiver.url, verifies=True))
        headers = [(b"Authorization", b"Bearer secret\r\nX: y")]
        with pytest.raises(RequestInvalid, match="a header of the request is not valid") as failed:
            await client.post(receiver.url, headers, BODY, timeout_seconds=5, response_bytes_max=1)
        await client.close()
    assert "secret" not in str(failed.value)


def test_forwarded_headers_are_unchanged() -> None:
    """All values of each, also bytes that are not text, under the names of the setting."""
    headers = RequestHeaders("http://h/x", ["COOKIE", "x", "absent"])
    assert headers.for_caller(CALLER)[-3:] == [(b"COOKIE", b"a=\xff"), (b"x", b"1"), (b"x", b"2")]
    assert not values(headers.for_caller(None), b"COOKIE")


def test_forwarded_values_can_always_be_sent() -> None:
    """Our server accepts whitespace around values and a few bytes that the HTTP library does not send."""
    received = [
        (b"x", b"Bearer a "),
        (b"x", b"\t b\t"),
        (b"x", b"c\x0bd"),
        (b"x", b"e\x0cf"),
        (b"x", b""),
        (b"x", b"g h"),
    ]
    client = Caller(remote_address="", method="PATCH", target="/", headers=received)
    headers = RequestHeaders("http://h/x", ["x"]).for_caller(client)
    assert values(headers, b"x") == [b"Bearer a", b"b", b"", b"g h"]


async def test_whitespace_around_a_forwarded_value_is_delivered() -> None:
    """A space at the end of Authorization once stopped the hooks of an upload for ever."""
    client = Caller(remote_address="", method="PATCH", target="/", headers=[(b"authorization", b"Bearer x ")])
    with receiving() as receiver:
        http = HttpClient(tls_context(receiver.url, verifies=True))
        headers = RequestHeaders(receiver.url, ["Authorization"]).for_caller(client)
        await http.post(receiver.url, headers, BODY, timeout_seconds=5, response_bytes_max=10)
        await http.close()
        assert receiver.calls[0].header("authorization") == ["Bearer x"]


def self_signed(folder: Path) -> ssl.SSLContext:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    return tls


async def test_certificates_are_verified(tmp_path: Path) -> None:
    """A self-signed one is refused, unless verification is off."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async with serving(answer, self_signed(tmp_path)) as url:
        async with client_for(url) as post:
            with pytest.raises(RequestFailed, match="CERTIFICATE_VERIFY_FAILED"):
                await post()
        async with client_for(url, verifies=False) as post:
            assert (await post()).status == 200


def test_the_http_library_is_loaded_only_when_needed() -> None:
    """Neither the wiring of a server without URLs nor a worker without webhooks loads it."""
    code = "import sys, tusd_py.wiring, workers.actors.webhooks; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert {"httpcore2", "tusd_py.hooks.http_client"}.isdisjoint(loaded)


def test_hooks_need_no_web_framework() -> None:
    """A worker that delivers events loads neither Starlette nor an HTTP server."""
    code = "import sys, tusd_py.hooks.blocking.executables, tusd_py.hooks.http_client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert {"starlette", "uvicorn", "httptools", "pydantic", "tusd_py.web"}.isdisjoint(loaded)
