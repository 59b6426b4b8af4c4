"""One attempt at a receiver: what it answers, or does not, and what that means."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from tests.support.harness import EPOCH
from tests.support.loops import on_loop
from tests.support.receiver import CUT, HANG, Answer, receiving
from tests.support.receiver import Receiver as Listening
from tusd_py.hooks.delivery.deliverer import (
    REFUSAL_BYTES_MAX,
    RETRY_AFTER_SECONDS_MAX,
    Deliverer,
    DeliveryResult,
    DeliveryStatus,
)
from tusd_py.hooks.delivery.endpoints import WebhookEndpoint
from tusd_py.model.caller import Caller
from tusd_py.model.events import Event, EventType
from tusd_py.model.upload import Upload
from tusd_py.protocol.dates import format_date

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


async def told(listening: Listening, answer: Answer, **more: Any) -> DeliveryResult:
    """The verdict where the receiver answers so."""
    listening.answers["post-finish"] = answer
    given: dict[str, Any] = {"name": "library", "types": frozenset(EventType), "allow_private": True}
    async with delivering() as deliverer:
        return await deliverer.deliver(WebhookEndpoint(**(given | {"url": listening.url} | more)), EVENT, None)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, DeliveryStatus.DELIVERED),
        (204, DeliveryStatus.DELIVERED),
        (302, DeliveryStatus.RETRY),
        (400, DeliveryStatus.REJECTED),
        (401, DeliveryStatus.RETRY),
        (404, DeliveryStatus.RETRY),
        (410, DeliveryStatus.GONE),
        (422, DeliveryStatus.REJECTED),
        (429, DeliveryStatus.RETRY),
        (500, DeliveryStatus.RETRY),
    ],
)
@on_loop
async def test_a_status_is_a_verdict(status: int, outcome: DeliveryStatus) -> None:
    """Refused for good is only what the same request would be refused for again."""
    with receiving() as listening:
        verdict = await told(listening, Answer(status=status, headers=(("Location", listening.url),)))
        assert outcome is verdict.status
        assert len(listening.calls) == 1, "redirects are not followed"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (format_date(EPOCH + timedelta(seconds=90)), 90),
        (format_date(EPOCH - timedelta(days=1)), 0),
        ("999999999", RETRY_AFTER_SECONDS_MAX),
    ],
)
@on_loop
async def test_a_receiver_may_say_when(text: str, seconds: float) -> None:
    """``Retry-After`` in seconds or as a date, in bounds, and at most a second more."""
    with receiving() as listening:
        verdict = await told(listening, Answer(status=429, headers=(("Retry-After", text),)))
    assert verdict.retry_after_seconds is not None
    assert seconds <= verdict.retry_after_seconds <= seconds + 1


@pytest.mark.parametrize("text", ["soon", "-1", "1.5", "²", ""])
@on_loop
async def test_what_is_no_time_is_passed_over(text: str) -> None:
    """The usual wait is for it."""
    with receiving() as listening:
        verdict = await told(listening, Answer(status=503, headers=(("Retry-After", text),)))
    assert verdict.status is DeliveryStatus.RETRY
    assert verdict.retry_after_seconds is None


@on_loop
async def test_a_receiver_that_hangs_or_cuts_its_answer_is_told_again() -> None:
    """In bounded time."""
    with receiving() as listening:
        began = time.monotonic()
        verdict = await told(listening, HANG, timeout_seconds=0.2)
        assert (verdict.status, verdict.reason) == (DeliveryStatus.RETRY, "took more than 0.2 seconds")
        assert time.monotonic() - began < 5
        assert (await told(listening, CUT)).status is DeliveryStatus.RETRY
    assert (await told(listening, Answer())).status is DeliveryStatus.RETRY, "nobody listens there any more"


@on_loop
async def test_of_a_large_answer_little_is_read() -> None:
    """A receiver cannot fill the worker's memory, nor the log; what it has taken is taken."""
    with receiving() as listening:
        fine = await told(listening, Answer(raw=b"x" * 10_000_000))
        assert (fine.status, len(fine.answer)) == (DeliveryStatus.DELIVERED, 5120)
        refused = await told(listening, Answer(raw=b"x" * 10_000_000, status=500))
        assert refused.status is DeliveryStatus.RETRY
        assert len(refused.reason) < REFUSAL_BYTES_MAX


@on_loop
async def test_credentials_of_the_client_go_to_nobody_but_tusds_receivers() -> None:
    """What is kept to be forwarded to hooks is in no webhook's body or headers."""
    with receiving() as listening:
        await told(listening, Answer(), body="tusd")
        await told(listening, Answer(), body="envelope")
        await told(listening, Answer(), body="tusd", is_tusd_hook=True, forward_headers=("Authorization",))
        webhook, envelope, own = listening.calls
    assert webhook.request["Header"] == {"Y": ["2"]}
    assert "headers" not in envelope.told["request"]
    assert not webhook.header("Authorization")
    assert own.header("Authorization") == ["x"] == own.request["Header"]["Authorization"]


@on_loop
async def test_a_private_address_is_refused_and_may_be_allowed_later() -> None:
    """It is tried again: nothing is lost once the operator has allowed it."""
    with receiving() as listening:
        verdict = await told(listening, Answer(), allow_private=False)
        assert verdict.status is DeliveryStatus.RETRY
        assert "not public" in verdict.reason
        assert [] == listening.calls
