"""Slots for uploads that receive bytes: waiting, giving up, and the takeover of an upload."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.virtual_time import VIRTUAL_TIME
from tusd_py.access.body_slots import WAITING_MAX, BodySlots
from tusd_py.protocol.access_errors import TooManyBodies

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


async def hold(slots: BodySlots, subject: str, upload_id: str, seconds: float) -> str:
    """Use a slot for some time; return when it was given, or that it was refused."""
    try:
        async with slots.acquired(subject, upload_id):
            given_at = asyncio.get_running_loop().time()
            await asyncio.sleep(seconds)
            return f"at {given_at:g}"
    except TooManyBodies as refused:
        assert (refused.status, refused.retry_after_seconds) == (423, 1)
        return f"refused at {asyncio.get_running_loop().time():g}"


async def test_more_wait_in_order_then_423() -> None:
    """What finds no slot waits its turn, at most so long; another owner does not wait."""
    slots = BodySlots(2, wait_seconds=10)
    held = [hold(slots, "user:a", name, seconds) for name, seconds in (("1", 4), ("2", 20), ("3", 20), ("4", 1))]
    assert await asyncio.gather(*held, hold(slots, "user:b", "5", 1)) == [
        "at 0",
        "at 0",
        "at 4",
        "refused at 10",
        "at 0",
    ]
    assert not slots._subjects


async def test_request_for_the_same_upload_takes_over_at_once() -> None:
    """A client that resumes does not wait for its own request, which may be one whose connection is broken."""
    slots = BodySlots(1, wait_seconds=10)
    first = asyncio.create_task(hold(slots, "user:a", "u", 5))
    await asyncio.sleep(1)
    again = asyncio.create_task(hold(slots, "user:a", "u", 6))
    other = asyncio.create_task(hold(slots, "user:a", "v", 1))
    assert [await task for task in (first, again, other)] == ["at 0", "at 1", "at 7"]
    assert not slots._subjects


async def test_requests_for_one_upload_that_have_waited_return_one_slot() -> None:
    """Two requests for an upload that both found no slot share one afterwards; none is lost when they end."""
    slots = BodySlots(2, wait_seconds=10)
    held = [hold(slots, "user:a", name, seconds) for name, seconds in (("1", 4), ("2", 4), ("3", 4), ("3", 4))]
    assert await asyncio.gather(*held, hold(slots, "user:a", "6", 20)) == ["at 0", "at 0", "at 4", "at 4", "at 4"]


async def test_waiting_request_begins_with_an_earlier_one_for_its_upload() -> None:
    """The first of two that wait for an upload may be one whose connection is broken: the second takes over at once."""
    slots = BodySlots(2, wait_seconds=10)
    held = [hold(slots, "user:a", name, seconds) for name, seconds in (("1", 4), ("2", 20), ("3", 30), ("4", 1))]
    assert await asyncio.gather(*held, hold(slots, "user:a", "3", 2), hold(slots, "user:a", "3", 40)) == [
        "at 0",
        "at 0",
        "at 4",
        "refused at 10",
        "at 4",
        "at 4",
    ]
    assert not slots._subjects


async def test_request_that_comes_while_others_wait_is_served_after_them() -> None:
    """A slot that becomes free is given to the one that has waited longest."""
    slots = BodySlots(1, wait_seconds=10)
    first, second = (asyncio.create_task(hold(slots, "user:a", name, 5)) for name in "12")
    await asyncio.sleep(4.9)
    third = asyncio.create_task(hold(slots, "user:a", "3", 5))
    assert [await task for task in (first, second, third)] == ["at 0", "at 5", "at 10"]


async def test_request_cancelled_as_it_gets_its_slot_gives_it_back() -> None:
    """A connection that ends at that moment takes no slot with it."""
    slots = BodySlots(1, wait_seconds=10)
    first = asyncio.create_task(hold(slots, "user:a", "1", 3))
    waiting = asyncio.create_task(hold(slots, "user:a", "2", 3))
    last = asyncio.create_task(hold(slots, "user:a", "3", 1))
    await first
    waiting.cancel()
    assert await last == "at 3"
    assert not slots._subjects


async def test_new_uploads_do_not_share_a_slot() -> None:
    """Creations with bytes have no id yet: each needs a slot."""
    slots = BodySlots(1, wait_seconds=10)
    assert await asyncio.gather(*(hold(slots, "user:a", "", 3) for _ in range(3))) == ["at 0", "at 3", "at 6"]


async def test_waiting_is_bounded_and_cancelled() -> None:
    """More than ``WAITING_MAX`` are refused at once; a cancelled one leaves the queue."""
    slots = BodySlots(1, wait_seconds=10)
    waiting = [asyncio.create_task(hold(slots, "user:a", str(number), 1000)) for number in range(WAITING_MAX + 1)]
    await asyncio.sleep(1)
    assert await hold(slots, "user:a", "more", 1) == "refused at 1"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not slots._subjects
    assert await hold(slots, "user:a", "later", 1) == "at 1"
