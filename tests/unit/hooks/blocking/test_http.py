"""One URL of a hook: bounded in time and bytes whatever answers, and as few connections as will do."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import EPOCH
from tests.support.loops import eventually, on_loop
from tests.support.receiver import HANG, Answer, receiving
from tusd_py.contracts.hooks import HookEvent, HookFailed, HookResponse
from tusd_py.hooks.blocking.http import CONNECTIONS_MAX, HttpHooks, RetryPolicy
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload

UPLOAD = Upload(id="u1", length=10, offset=4, created_at=EPOCH, updated_at=EPOCH)
CALLER = Caller(
    remote_address="", method="PATCH", target="/", headers=[(b"cookie", b"a=\xff"), (b"x", b"1"), (b"x", b"2")]
)
EVENT = HookEvent(Hook.PRE_FINISH, UPLOAD, CALLER)
ONCE = RetryPolicy(attempts=1, backoff_seconds=0, attempt_seconds=5, timeout_seconds=5)
FINE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def gate_to(url: str, retry: RetryPolicy = ONCE, **more: Any) -> AsyncIterator[HttpHooks]:
    handler = HttpHooks(
        url, [Hook.PRE_FINISH], where=lambda _: {}, count=more.pop("count", lambda *_: None), retry=retry, **more
    )
    try:
        yield handler
    finally:
        await handler.close()


@asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The URL of a server that does with each connection what it is told, head and body of the request read first."""

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


async def failure_of(handler: HttpHooks) -> str:
    with pytest.raises(HookFailed) as failed:
        await handler.invoke(EVENT)
    return str(failed.value)


@on_loop
async def test_a_connection_is_used_again() -> None:
    """One after the other, hooks take one connection; at the same time, as many as there are hooks."""
    with receiving() as receiver:
        async with gate_to(receiver.url) as handler:
            for _ in range(5):
                assert await handler.invoke(EVENT) == HookResponse()
            assert len(receiver.connections) == 1
            await asyncio.gather(*(handler.invoke(EVENT) for _ in range(10)))
            assert 1 < len(receiver.connections) <= 11


@on_loop
async def test_more_hooks_than_connections_wait_their_turn() -> None:
    """No more than ``CONNECTIONS_MAX`` at once; all are answered, also after many others were given up."""
    open_now, most = 0, 0
    go = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await go.wait()
        open_now -= 1
        writer.write(FINE.replace(b"200 OK", b"200 OK\r\nConnection: close"))

    async with serving(answer) as url, gate_to(url) as handler:
        given_up = [asyncio.ensure_future(handler.invoke(EVENT)) for _ in range(CONNECTIONS_MAX * 2)]
        await eventually(lambda: open_now == CONNECTIONS_MAX)
        for asking in given_up:
            asking.cancel()
        await asyncio.wait(given_up)
        asking_now = [asyncio.ensure_future(handler.invoke(EVENT)) for _ in range(CONNECTIONS_MAX * 2)]
        await eventually(lambda: open_now == CONNECTIONS_MAX * 2)
        go.set()
        assert set(await asyncio.gather(*asking_now)) == {HookResponse()}
        assert most == CONNECTIONS_MAX * 2, "those given up, which the receiver has not noticed, and as many again"


@on_loop
async def test_a_url_that_hangs_is_tried_again_within_the_whole_time() -> None:
    """The last try may be shorter; no try begins that would end too late."""
    with receiving() as receiver:
        receiver.answers["pre-finish"] = HANG
        retry = RetryPolicy(attempts=10, backoff_seconds=0.1, attempt_seconds=0.3, timeout_seconds=1)
        async with gate_to(receiver.url, retry) as handler:
            began = time.monotonic()
            assert "took more than" in await failure_of(handler)
            assert 0.9 <= time.monotonic() - began < 3
        assert len(receiver.calls) in (2, 3)


@on_loop
async def test_an_answer_that_drips_is_bounded_in_time_and_bytes() -> None:
    """Neither a body that never ends nor one that comes a byte at a time holds a request for ever."""

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

    short = RetryPolicy(attempts=1, backoff_seconds=0, attempt_seconds=0.3, timeout_seconds=0.3)
    async with serving(drip) as url, gate_to(url, short) as handler:
        assert "took more than" in await failure_of(handler)
    async with serving(flood) as url, gate_to(url) as handler:
        assert "more than 5120 bytes" in await failure_of(handler)


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000])
@on_loop
async def test_what_is_no_http_is_a_failure_that_may_pass(said: bytes) -> None:
    """It is tried as often as is set, and counted once."""
    tries = 0
    counted: list[tuple[Hook, bool]] = []

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        writer.write(said)

    twice = RetryPolicy(attempts=2, backoff_seconds=0, attempt_seconds=5, timeout_seconds=5)
    async with serving(answer) as url, gate_to(url, twice, count=lambda *count: counted.append(count)) as handler:
        assert "could not be asked" in await failure_of(handler)
    assert (tries, counted) == (2, [(Hook.PRE_FINISH, True)])


@on_loop
async def test_nobody_listens() -> None:
    """A refused connection is a failure that names the URL, without the password and the query in it."""
    with receiving() as receiver:
        url = receiver.url.replace("http://", "http://me:secret@") + "?token=secret"
    async with gate_to(url) as handler:
        told = await failure_of(handler)
    assert "secret" not in told and "/hooks: pre-finish could not be asked" in told


@on_loop
async def test_a_name_and_password_in_the_url_are_sent() -> None:
    """As Basic authentication, percent-encoding undone; the query stays in the target."""
    with receiving() as receiver:
        url = receiver.url.replace("http://", "http://me:a%3Ab@") + "?x=1"
        async with gate_to(url) as handler:
            await handler.invoke(EVENT)
        [call] = receiver.calls
        assert (call.header("authorization"), call.path) == (["Basic bWU6YTpi"], "/hooks?x=1")


@on_loop
async def test_credentials_that_are_forwarded_take_the_place_of_the_urls() -> None:
    """A receiver reads one Authorization: the client's where it has one, else that of the URL."""
    caller = replace(CALLER, headers=[(b"authorization", b"Bearer x")])
    with receiving() as receiver:
        url = receiver.url.replace("http://", "http://me:pw@")
        async with gate_to(url, forward_headers=["Authorization"]) as handler:
            await handler.invoke(HookEvent(Hook.PRE_FINISH, UPLOAD, caller))
            await handler.invoke(EVENT)
        assert [call.header("authorization") for call in receiver.calls] == [["Bearer x"], ["Basic bWU6cHc="]]


@on_loop
async def test_forwarded_headers_are_sent_as_they_came() -> None:
    """All values of each, bytes that are no text too; nothing that a receiver sets is kept for the next hook."""
    with receiving() as receiver:
        receiver.answers["pre-finish"] = Answer(headers=(("Set-Cookie", "theirs=1"),))
        async with gate_to(receiver.url, forward_headers=["COOKIE", "x", "absent"]) as handler:
            await handler.invoke(EVENT)
            await handler.invoke(HookEvent(Hook.PRE_FINISH, UPLOAD, None))
        first, second = receiver.calls
        assert [pair for pair in first.headers if pair[0] in ("COOKIE", "x")] == [
            ("COOKIE", "a=\xff"),
            ("x", "1"),
            ("x", "2"),
        ]
        assert second.header("cookie") == []


@on_loop
async def test_a_hook_that_is_not_enabled_asks_nobody() -> None:
    """Whoever asks it all the same gets the answer that changes nothing."""
    with receiving() as receiver:
        async with gate_to(receiver.url) as handler:
            assert (handler.handles(Hook.PRE_FINISH), handler.handles(Hook.PRE_CREATE)) == (True, False)
            assert await handler.invoke(HookEvent(Hook.PRE_CREATE, UPLOAD, None)) == HookResponse()
        assert receiver.calls == []


def unsigned(folder: Path) -> ssl.SSLContext:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    return tls


@on_loop
async def test_certificates_are_verified_unless_that_is_off(tmp_path: Path) -> None:
    """One that nobody has signed is refused; with ``verifies`` off it is taken."""
    tls = unsigned(tmp_path)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(FINE)

    async with serving(answer, tls) as url:
        async with gate_to(url) as handler:
            assert "CERTIFICATE_VERIFY_FAILED" in await failure_of(handler)
        async with gate_to(url, verifies=False) as handler:
            assert await handler.invoke(EVENT) == HookResponse()


def test_programs_and_payload_need_no_web_framework() -> None:
    """A worker that tells of events has neither Starlette nor an HTTP server in it."""
    code = "import sys, tusd_py.hooks.blocking.executables, tusd_py.hooks.tusd_json; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert {"starlette", "uvicorn", "httptools", "pydantic", "tusd_py.web"}.isdisjoint(loaded)
