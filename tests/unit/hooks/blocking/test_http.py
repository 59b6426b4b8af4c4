"""Blocking hooks over HTTP: retries within the time of the hook, and which responses are failures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.harness import EPOCH
from tests.support.receiver import CUT, HANG, Answer, receiving
from tusd_py.contracts.hooks import HookEvent, HookFailed, HookResponse
from tusd_py.hooks.blocking.http import HttpHooks, RetryPolicy
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload

pytestmark = pytest.mark.anyio

UPLOAD = Upload(id="u1", length=10, offset=4, created_at=EPOCH, updated_at=EPOCH)
CALLER = Caller(remote_address="", method="PATCH", target="/", headers=[(b"cookie", b"a=1"), (b"x", b"1")])
EVENT = HookEvent(Hook.PRE_FINISH, UPLOAD, CALLER)
ONCE = RetryPolicy(attempts=1, backoff_seconds=0, attempt_seconds=5, timeout_seconds=5)
TWICE = RetryPolicy(attempts=2, backoff_seconds=0, attempt_seconds=5, timeout_seconds=5)


@asynccontextmanager
async def hooks_at(url: str, retry: RetryPolicy = ONCE, **more: Any) -> AsyncIterator[HttpHooks]:
    handler = HttpHooks(
        url, [Hook.PRE_FINISH], location=lambda _: {}, count=more.pop("count", lambda *_: None), retry=retry, **more
    )
    try:
        yield handler
    finally:
        await handler.close()


async def failure_of(handler: HttpHooks) -> str:
    with pytest.raises(HookFailed) as failed:
        await handler.invoke(EVENT)
    return str(failed.value)


async def test_a_url_that_hangs_is_retried_within_the_whole_time() -> None:
    """The last attempt may be shorter; no attempt begins that would end too late."""
    with receiving() as receiver:
        receiver.answers["pre-finish"] = HANG
        retry = RetryPolicy(attempts=10, backoff_seconds=0.1, attempt_seconds=0.3, timeout_seconds=1)
        async with hooks_at(receiver.url, retry) as handler:
            began = time.monotonic()
            assert "took more than" in await failure_of(handler)
            assert 0.9 <= time.monotonic() - began < 3
        assert len(receiver.calls) in (2, 3)


@pytest.mark.parametrize("failing", [CUT, Answer(status=500), Answer(status=503)])
async def test_a_temporary_failure_is_retried(failing: Answer) -> None:
    """As often as is set; the hook is counted once."""
    counted: list[tuple[Hook, bool]] = []
    with receiving() as receiver:
        receiver.answers["pre-finish"] = [failing, failing, failing, Answer()]
        async with hooks_at(receiver.url, TWICE, count=lambda *count: counted.append(count)) as handler:
            await failure_of(handler)
            assert len(receiver.calls) == 2
            assert await handler.invoke(EVENT) == HookResponse()
    assert counted == [(Hook.PRE_FINISH, True), (Hook.PRE_FINISH, False)]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(raw=b"oh dear", status=404), "pre-finish answered 404, not 2xx: 'oh dear'"),
        (Answer(status=307, headers=(("Location", "/"),)), "pre-finish answered 307, not 2xx"),
        (Answer(raw=b" " * 21), "pre-finish answered with more than 20 bytes"),
        (Answer(content_type="text/html"), "pre-finish answered with Content-Type 'text/html'; it must be app"),
        (Answer(content_type=None), "pre-finish answered with Content-Type ''"),
    ],
)
async def test_a_permanent_failure_is_not_retried(answer: Answer, reason: str) -> None:
    """The reason names the URL and quotes the response."""
    with receiving() as receiver:
        receiver.answers["pre-finish"] = answer
        async with hooks_at(receiver.url, TWICE, response_bytes_max=20) as handler:
            assert f"{receiver.url}: {reason}" in await failure_of(handler)
        assert len(receiver.calls) == 1


async def test_a_refused_connection_fails_without_secrets() -> None:
    """The failure names the URL, without the password and the query in it."""
    with receiving() as receiver:
        url = receiver.url.replace("http://", "http://me:secret@") + "?token=secret"
    async with hooks_at(url) as handler:
        failure = await failure_of(handler)
    assert "secret" not in failure and "/hooks: pre-finish gave no complete response: ConnectError" in failure


async def test_headers_are_forwarded() -> None:
    """Those that the setting names, of the request that caused the hook."""
    with receiving() as receiver:
        async with hooks_at(receiver.url, forward_headers=["Cookie"]) as handler:
            await handler.invoke(EVENT)
            await handler.invoke(HookEvent(Hook.PRE_FINISH, UPLOAD, None))
        first, second = receiver.calls
    assert (first.header("cookie"), first.header("x"), second.header("cookie")) == (["a=1"], [], [])


async def test_hooks_that_are_not_enabled_are_not_sent() -> None:
    """Invoking one returns the response that changes nothing."""
    with receiving() as receiver:
        async with hooks_at(receiver.url) as handler:
            assert (handler.handles(Hook.PRE_FINISH), handler.handles(Hook.PRE_CREATE)) == (True, False)
            assert await handler.invoke(HookEvent(Hook.PRE_CREATE, UPLOAD, None)) == HookResponse()
        assert receiver.calls == []


async def test_concurrent_hooks() -> None:
    """Hooks do not wait for each other."""
    with receiving() as receiver:
        async with hooks_at(receiver.url) as handler:
            responses = await asyncio.gather(*(handler.invoke(EVENT) for _ in range(10)))
    assert set(responses) == {HookResponse()}


async def test_a_request_that_can_never_be_sent_is_not_repeated() -> None:
    """The hook fails at once and not at the end of its time."""
    retry = RetryPolicy(attempts=10, backoff_seconds=60, attempt_seconds=60, timeout_seconds=600)
    async with hooks_at(f"http://{'a' * 64}.example/", retry) as handler:
        assert "was not called" in await asyncio.wait_for(failure_of(handler), 20)
