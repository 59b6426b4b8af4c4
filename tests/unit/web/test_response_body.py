"""A download on its way out: poured where both sides can, else in pieces, and nothing left open whatever ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from starlette.types import Message, Send

from tests.unit.web.asgi import GONE, Incoming, Outgoing
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.contracts.zero_copy import SocketWriter
from tusd_py.web.response_body import SEND_BYTES, BodySender

FOR_EVER = 60.0


class Stock:
    """Content that can be poured: one number after another, read or poured in steps of its own."""

    def __init__(self, *steps: bytes, failure: Exception | None = None) -> None:
        self.steps = list(steps)
        self.poured: list[bytes] = []
        self._failure = failure

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self.steps:
            raise StopAsyncIteration
        return self.steps.pop(0)

    async def pour(self, spout: SocketWriter) -> None:
        if self._failure is not None:
            raise self._failure
        while self.steps and spout.move(0, 0, len(self.steps[0])):
            self.poured.append(self.steps.pop(0))

    async def aclose(self) -> None:
        self.steps.clear()


class Lent:
    """A spout that takes so many steps of content."""

    def __init__(self, takes: int) -> None:
        self.given_bytes = 0
        self.closed = 0
        self._takes = takes

    def move(self, descriptor: int, offset: int, count: int) -> int:
        self._takes -= 1
        if self._takes < 0:
            return 0
        self.given_bytes += count
        return count

    def close(self) -> None:
        self.closed += 1


class Lender:
    """A server that lends these spouts, one after another; then none."""

    def __init__(self, *spouts: Lent | None) -> None:
        self.spouts = list(spouts)
        self.asked_by: list[Send] = []

    async def __call__(self, send: Send) -> Lent | None:
        self.asked_by.append(send)
        return self.spouts.pop(0) if self.spouts else None


@pytest.mark.anyio
async def test_what_can_be_poured_is() -> None:
    """Behind the first piece; when a moment brings nothing, the next piece is sent, and then it is tried again."""
    stock = Stock(b"a", b"bb", b"ccc", b"dddd", b"eeeee")
    lender = Lender(Lent(1), Lent(1), Lent(0), Lent(5))
    out = Outgoing()
    sender = BodySender(Incoming(), out, FOR_EVER, lender)
    spouts = list(lender.spouts)
    await sender.run(stock)
    bodies = [message["body"] for message in out.messages]
    assert ([b"a", b"dddd", b""], [b"bb", b"ccc", b"eeeee"]) == (bodies, stock.poured)
    assert (15, 10) == (sender.bytes_sent, sender.poured_bytes)
    assert [1, 1, 1, 1] == [spout.closed for spout in spouts if spout is not None]
    assert all(send is out for send in lender.asked_by)
    assert out.messages[-1].get("more_body", False) is False


@pytest.mark.anyio
async def test_content_that_cannot_be_poured() -> None:
    """Pieces, whatever the server offers: it is not even asked."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"x" * (SEND_BYTES + 1)

    lender = Lender(Lent(9))
    out = Outgoing()
    sender = BodySender(Incoming(), out, FOR_EVER, lender)
    await sender.run(pieces())
    assert [SEND_BYTES, 1, 0] == [len(message["body"]) for message in out.messages]
    assert (lender.asked_by, sender.bytes_sent, sender.poured_bytes) == ([], SEND_BYTES + 1, 0)


@pytest.mark.parametrize("lends", [False, True])
@pytest.mark.anyio
async def test_a_server_that_lends_nothing(lends: bool) -> None:
    """It never does, or not now: all goes in pieces."""
    out = Outgoing()
    sender = BodySender(Incoming(), out, FOR_EVER, Lender() if lends else None)
    await sender.run(Stock(b"a", b"b"))
    assert (b"ab", sender.poured_bytes) == (b"".join(message["body"] for message in out.messages), 0)


@pytest.mark.anyio
async def test_a_client_that_goes_away_while_it_is_poured_to() -> None:
    """No more is given, and no end is claimed."""
    left = asyncio.Event()

    class Leaving(Lent):
        def move(self, descriptor: int, offset: int, count: int) -> int:
            left.set()
            return super().move(descriptor, offset, count)

        def close(self) -> None:
            super().close()
            asyncio.get_running_loop().call_soon(left.set)

    async def lend(_: Send) -> Lent:
        await asyncio.sleep(0)
        return Leaving(1)

    out = Outgoing()
    stock = Stock(*[b"x"] * 1000)
    await BodySender(Incoming(left, GONE), out, FOR_EVER, lend).run(stock)
    assert len(stock.steps) > 900
    assert all(message["more_body"] for message in out.messages)


@pytest.mark.anyio
async def test_a_client_that_takes_nothing_is_given_up() -> None:
    """The way to it is not free within the idle time."""

    async def lend(_: Send) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(BodySender(Incoming(), Outgoing(), 0.01, lend).run(Stock(b"a", b"b")), 5)


@pytest.mark.anyio
async def test_a_file_that_fails_while_it_is_poured() -> None:
    """The way is given back, and the failure is told to whoever breaks the connection."""
    spout = Lent(1)
    out = Outgoing()
    with pytest.raises(StoreUnavailable):
        failing = Stock(b"a", b"b", failure=StoreUnavailable("it broke"))
        await BodySender(Incoming(), out, FOR_EVER, Lender(spout)).run(failing)
    assert spout.closed == 1
    assert all(message["more_body"] for message in out.messages)


@pytest.mark.anyio
async def test_nobody_listens_for_the_client_any_more() -> None:
    """Whatever ends it, ``receive`` is left to whoever comes next."""
    listening = 0

    async def receive() -> Message:
        nonlocal listening
        listening += 1
        try:
            await asyncio.Event().wait()
        finally:
            listening -= 1
        return GONE

    await BodySender(receive, Outgoing(), FOR_EVER, None).run(Stock(b"a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert listening == 0
