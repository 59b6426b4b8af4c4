"""``GatheredPart``: the budget counts every byte, and memory goes to those that wait for it."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.readers import BytesReader
from tusd_py.storage.s3 import checksums
from tusd_py.storage.s3.budget import MemoryBudget
from tusd_py.storage.s3.gathered_part import GatheredPart


def filled(gathered: GatheredPart, size: int, body: bytes) -> None:
    buffer = gathered.buffer(size)
    assert buffer is not None
    buffer.fill(BytesReader(body), len(body), None)


def test_pieces_and_buffer_are_one_part() -> None:
    """Their bytes are in order, and the CRC is that of all."""
    budget = MemoryBudget(1000)
    gathered = GatheredPart(budget)
    assert gathered.try_add(b"xabx", 1, 3)
    filled(gathered, 100, b"cd")
    assert gathered.try_add(b"xef", 1, 3)
    assert (gathered.size, budget.used) == (6, 102)
    part = gathered.take()
    assert b"".join(part.views()) == b"abcdef"
    assert part.crc_after([b"0"]) == checksums.crc_of(b"0abcdef")
    gathered.give_back(part, is_sent=True)
    assert (gathered.size, budget.used) == (0, 100)
    gathered.close()
    assert budget.used == 0


def test_memory_of_a_sent_part_is_used_again() -> None:
    """Not that of one that may still be on its way, and not for parts of another size."""
    budget = MemoryBudget(1000)
    gathered = GatheredPart(budget)
    filled(gathered, 100, b"ab")
    first = gathered.take()
    gathered.give_back(first, is_sent=True)
    assert gathered.buffer(100) is first.buffer
    gathered.give_back(gathered.take(), is_sent=False)
    assert budget.used == 0
    other = gathered.buffer(100)
    assert other is not None and other is not first.buffer
    gathered.give_back(gathered.take(), is_sent=True)
    assert gathered.buffer(200) is not None
    assert budget.used == 200
    gathered.close()
    assert budget.used == 0


def test_buffers_leave_half_of_the_memory() -> None:
    """The other half is for uploads that come piece by piece."""
    budget = MemoryBudget(250)
    first, second = GatheredPart(budget), GatheredPart(budget)
    assert first.can_buffer(100) and first.buffer(100) is not None
    assert not second.can_buffer(100) and second.buffer(100) is None
    assert second.try_add(bytes(150), 0, 150)
    assert not second.try_add(b"x", 0, 1)
    first.close()
    assert second.can_buffer(100) is False
    second.close()
    assert second.can_buffer(100)


@pytest.mark.anyio
async def test_waiting_request_gets_the_memory_of_a_sent_part() -> None:
    """Nothing is kept for later while another request waits."""
    budget = MemoryBudget(100)
    gathered = GatheredPart(budget)
    filled(gathered, 100, b"ab")
    part = gathered.take()
    waiting = asyncio.ensure_future(budget.acquire(50))
    await asyncio.sleep(0)
    assert gathered.is_awaited
    gathered.give_back(part, is_sent=True)
    await waiting
    assert budget.used == 50


def test_closed_one_keeps_nothing() -> None:
    """A part that ends after the request has ended gives its memory back."""
    budget = MemoryBudget(1000)
    gathered = GatheredPart(budget)
    filled(gathered, 100, b"ab")
    part = gathered.take()
    gathered.close()
    gathered.give_back(part, is_sent=True)
    assert budget.used == 0
