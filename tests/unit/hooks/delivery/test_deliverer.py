"""One attempt to deliver an event: which result each answer of the endpoint has."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import EPOCH
from tests.support.receiver import CUT, HANG, Answer, Receiver, receiving
from tests.support.waiting import eventually
from tusd_py.contracts.webhooks import DeliveryResult, DeliveryStatus, WebhookEndpoint
from tusd_py.hooks.delivery.deliverer import RETRY_AFTER_SECONDS_MAX, Deliverer
from tusd_py.model.caller import Caller
from tusd_py.model.events import Event, EventType
from tusd_py.model.upload import Upload
from tusd_py.protocol.dates import format_date

pytestmark = pytest.mark.anyio

UPLOAD = Upload(id="u1", length=10, offset=10, created_at=EPOCH, updated_at=EPOCH)
CALLER = Caller(
    remote_address="", method="PATCH", target="/", headers=[(b"cookie", b"a=1"), (b"authorization", b"x"), (b"y", b"2")]
)
EVENT = Event(id="e1", type=EventType.POST_FINISH, at=EPOCH, upload=UPLOAD, caller=CALLER)


@asynccontextmanager
async def delivering() -> AsyncIterator[Deliverer]:
    deliverer = Deliverer(lambda: EPOCH)
    try:
        yield deliverer
    finally:
        await deliverer.close()


def endpoint(**more: Any) -> WebhookEndpoint:
    settings: dict[str, Any] = {"name": "library", "types": frozenset(EventType), "allow_private": True}
    return WebhookEndpoint(**(settings | more))


async def deliver(receiver: Receiver, answer: Answer, **more: Any) -> DeliveryResult:
    """The result of one attempt that ``receiver`` answers with ``answer``."""
    receiver.answers["post-finish"] = answer
    async with delivering() as deliverer:
        return await deliverer.deliver(endpoint(**({"url": receiver.url} | more)), EVENT, None)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, DeliveryStatus.DELIVERED),
        (204, DeliveryStatus.DELIVERED),
        (302, DeliveryStatus.RETRY),
        (400, DeliveryStatus.REJECTED),
        (401, DeliveryStatus.RETRY),
        (404, DeliveryStatus.RETRY),
        (410, DeliveryStatus.GONE),
        (413, DeliveryStatus.REJECTED),
        (415, DeliveryStatus.REJECTED),
        (422, DeliveryStatus.REJECTED),
        (429, DeliveryStatus.RETRY),
        (500, DeliveryStatus.RETRY),
    ],
)
async def test_result_of_each_status(status: int, expected: DeliveryStatus) -> None:
    """Only what the endpoint would refuse again is rejected; redirects are not followed."""
    with receiving() as receiver:
        result = await deliver(receiver, Answer(status=status, headers=(("Location", receiver.url),)))
        assert result.status is expected
        assert len(receiver.calls) == 1


async def test_410_is_about_one_upload_for_tusds_hooks() -> None:
    """A receiver written for tusd does not know that 410 closes a webhook."""
    with receiving() as receiver:
        result = await deliver(receiver, Answer(status=410), is_tusd_hook=True)
    assert result.status is DeliveryStatus.REJECTED


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (format_date(EPOCH + timedelta(seconds=90)), 90),
        (format_date(EPOCH - timedelta(days=1)), 0),
        ("999999999", RETRY_AFTER_SECONDS_MAX),
    ],
)
async def test_retry_after_is_obeyed(text: str, seconds: float) -> None:
    """In seconds or as a date, up to a maximum, with at most a second added."""
    with receiving() as receiver:
        result = await deliver(receiver, Answer(status=429, headers=(("Retry-After", text),)))
    assert result.retry_after_seconds is not None
    assert seconds <= result.retry_after_seconds <= seconds + 1


@pytest.mark.parametrize("text", ["soon", "-1", "1.5", "²", ""])
async def test_invalid_retry_after_is_ignored(text: str) -> None:
    """The usual wait applies."""
    with receiving() as receiver:
        result = await deliver(receiver, Answer(status=503, headers=(("Retry-After", text),)))
    assert result.status is DeliveryStatus.RETRY
    assert result.retry_after_seconds is None


async def test_no_complete_response_is_retried() -> None:
    """An endpoint that hangs (in bounded time), cuts its response, or does not listen."""
    with receiving() as receiver:
        began = time.monotonic()
        result = await deliver(receiver, HANG, timeout_seconds=0.2)
        assert (result.status, result.reason) == (DeliveryStatus.RETRY, "took more than 0.2 seconds")
        assert time.monotonic() - began < 5
        assert (await deliver(receiver, CUT)).status is DeliveryStatus.RETRY
    assert (await deliver(receiver, Answer())).status is DeliveryStatus.RETRY


async def test_little_is_read_of_a_large_response() -> None:
    """An endpoint can fill neither the worker's memory nor the log; a delivered event stays delivered."""
    with receiving() as receiver:
        delivered = await deliver(receiver, Answer(raw=b"x" * 10_000_000))
        assert (delivered.status, len(delivered.response)) == (DeliveryStatus.DELIVERED, 5120)
        refused = await deliver(receiver, Answer(raw=b"x" * 10_000_000, status=500))
        assert refused.status is DeliveryStatus.RETRY
        assert len(refused.reason) < 4096


async def test_credentials_reach_tusd_hooks_only() -> None:
    """Headers that are kept for forwarding to hooks are in no webhook's body or headers."""
    with receiving() as receiver:
        await deliver(receiver, Answer(), body="tusd")
        await deliver(receiver, Answer(), body="envelope")
        await deliver(receiver, Answer(), body="tusd", is_tusd_hook=True, forward_headers=("Authorization",))
        webhook, envelope, hook = receiver.calls
    assert "Authorization" not in webhook.request["Header"]
    assert "headers" not in envelope.payload["request"]
    assert not webhook.header("Authorization")
    assert hook.header("Authorization") == ["x"] == hook.request["Header"]["Authorization"]


async def test_private_addresses_are_refused() -> None:
    """The attempt is repeated later: nothing is lost when the operator then allows the address."""
    with receiving() as receiver:
        result = await deliver(receiver, Answer(), allow_private=False)
        assert result.status is DeliveryStatus.RETRY
        assert "not public" in result.reason
        assert receiver.calls == []


async def test_programs_are_run(tmp_path: Path) -> None:
    """Standard output is the response; a failure is retried; a missing program is a delivery."""
    program = tmp_path / "post-finish"
    hooks = endpoint(executables_dir=str(tmp_path), timeout_seconds=10)
    async with delivering() as deliverer:
        assert (await deliverer.deliver(hooks, EVENT, None)).status is DeliveryStatus.DELIVERED
        program.write_text("#!/bin/sh\necho $TUS_ID\n")
        program.chmod(0o755)
        assert await deliverer.deliver(hooks, EVENT, None) == DeliveryResult(DeliveryStatus.DELIVERED, response=b"u1\n")
        program.write_text("#!/bin/sh\nexit 3\n")
        failed = await deliverer.deliver(hooks, EVENT, None)
    assert (failed.status, "exited with code 3" in failed.reason) == (DeliveryStatus.RETRY, True)


async def test_connections_are_reused_and_closed() -> None:
    """Deliveries to one host share connections until the deliverer is closed; it can be used again afterwards."""
    with receiving() as receiver:
        async with delivering() as deliverer:
            for _ in range(3):
                await deliverer.deliver(endpoint(url=receiver.url), EVENT, None)
            assert len(receiver.connections) == 1
            await deliverer.close()
            await deliverer.deliver(endpoint(url=receiver.url), EVENT, None)
        await eventually(lambda: len(receiver.connections) == 2)


async def test_a_request_that_can_never_be_sent_is_rejected() -> None:
    """It is not repeated: the jobs behind it would wait for three days."""
    async with delivering() as deliverer:
        result = await deliverer.deliver(endpoint(url=f"http://{'a' * 64}.example/"), EVENT, None)
    assert (result.status, "was not called" in result.reason) == (DeliveryStatus.REJECTED, True)
