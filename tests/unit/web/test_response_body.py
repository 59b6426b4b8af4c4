"""Sending the content of a download: zero copy where both sides can, else pieces; nothing is left open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from starlette.types import Message, Send

from tests.unit.web.asgi import GONE, Incoming, Outgoing
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.contracts.zero_copy import SocketWriter
from tusd_py.web.response_body import SEND_BYTES, BodySender

LONG_SECONDS = 60.0


class FakeContent:
    """Zero-copy content in steps: each is read as one piece or transferred by one call."""

    def __init__(self, *steps: bytes, failure: Exception | None = None) -> None:
        self.steps = list(steps)
        self.transferred: list[bytes] = []
        self._failure = failure

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self.steps:
            raise StopAsyncIteration
        return self.steps.pop(0)

    async def transfer(self, writer: SocketWriter) -> None:
        if self._failure is not None:
            raise self._failure
        while self.steps and writer.sendfile(0, 0, len(self.steps[0])):
            self.transferred.append(self.steps.pop(0))

    async def aclose(self) -> None:
        self.steps.clear()


class FakeWriter:
    """A socket writer that takes ``takes`` steps of content."""

    def __init__(self, takes: int) -> None:
        self.bytes_sent = 0
        self.closed = 0
        self._takes = takes

    def sendfile(self, descriptor: int, offset: int, count: int) -> int:
        self._takes -= 1
        if self._takes < 0:
            return 0
        self.bytes_sent += count
        return count

    def close(self) -> None:
        self.closed += 1


class FakeServer:
    """A server that can_acquire these writers, one after another; then none."""

    def __init__(self, *writers: FakeWriter | None) -> None:
        self.writers = list(writers)
        self.asked_by: list[Send] = []

    async def __call__(self, send: Send) -> FakeWriter | None:
        self.asked_by.append(send)
        return self.writers.pop(0) if self.writers else None


@pytest.mark.anyio
async def test_zero_copy_content_is_transferred() -> None:
    """Bursts follow the first piece. After a burst that sends nothing, a piece is sent before the next burst."""
    content = FakeContent(b"a", b"bb", b"ccc", b"dddd", b"eeeee")
    server = FakeServer(FakeWriter(1), FakeWriter(1), FakeWriter(0), FakeWriter(5))
    out = Outgoing()
    sender = BodySender(Incoming(), out, LONG_SECONDS, server)
    writers = list(server.writers)
    await sender.run(content)
    bodies = [message["body"] for message in out.messages]
    assert ([b"a", b"dddd", b""], [b"bb", b"ccc", b"eeeee"]) == (bodies, content.transferred)
    assert (15, 10) == (sender.bytes_sent, sender.bytes_zero_copy)
    assert [1, 1, 1, 1] == [writer.closed for writer in writers if writer is not None]
    assert all(send is out for send in server.asked_by)
    assert out.messages[-1].get("more_body", False) is False


@pytest.mark.anyio
async def test_other_content_is_sent_in_pieces() -> None:
    """Content without zero copy is sent in pieces, and the socket is not acquired."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"x" * (SEND_BYTES + 1)

    server = FakeServer(FakeWriter(9))
    out = Outgoing()
    sender = BodySender(Incoming(), out, LONG_SECONDS, server)
    await sender.run(pieces())
    assert [SEND_BYTES, 1, 0] == [len(message["body"]) for message in out.messages]
    assert (server.asked_by, sender.bytes_sent, sender.bytes_zero_copy) == ([], SEND_BYTES + 1, 0)


@pytest.mark.parametrize("can_acquire", [False, True])
@pytest.mark.anyio
async def test_server_without_zero_copy_sends_pieces(can_acquire: bool) -> None:
    """A server that never has the socket, or does not have it now, is sent pieces."""
    out = Outgoing()
    sender = BodySender(Incoming(), out, LONG_SECONDS, FakeServer() if can_acquire else None)
    await sender.run(FakeContent(b"a", b"b"))
    assert (b"ab", sender.bytes_zero_copy) == (b"".join(message["body"] for message in out.messages), 0)


@pytest.mark.anyio
async def test_disconnect_during_a_transfer() -> None:
    """Nothing more is sent, and no end of the body."""
    left = asyncio.Event()

    class Leaving(FakeWriter):
        def sendfile(self, descriptor: int, offset: int, count: int) -> int:
            left.set()
            return super().sendfile(descriptor, offset, count)

        def close(self) -> None:
            super().close()
            asyncio.get_running_loop().call_soon(left.set)

    async def acquire(_: Send) -> FakeWriter:
        await asyncio.sleep(0)
        return Leaving(1)

    out = Outgoing()
    content = FakeContent(*[b"x"] * 1000)
    await BodySender(Incoming(left, GONE), out, LONG_SECONDS, acquire).run(content)
    assert len(content.steps) > 900
    assert all(message["more_body"] for message in out.messages)


@pytest.mark.anyio
async def test_stuck_client_times_out() -> None:
    """The socket does not become free within the idle time."""

    async def acquire(_: Send) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(BodySender(Incoming(), Outgoing(), 0.01, acquire).run(FakeContent(b"a", b"b")), 5)


@pytest.mark.anyio
async def test_failing_file_during_a_transfer() -> None:
    """The socket is given back, and the error reaches the caller, who closes the connection."""
    writer = FakeWriter(1)
    out = Outgoing()
    with pytest.raises(StoreUnavailable):
        failing = FakeContent(b"a", b"b", failure=StoreUnavailable("it broke"))
        await BodySender(Incoming(), out, LONG_SECONDS, FakeServer(writer)).run(failing)
    assert writer.closed == 1
    assert all(message["more_body"] for message in out.messages)


@pytest.mark.anyio
async def test_receive_is_released_at_the_end() -> None:
    """After the response ``receive`` is free for the next caller."""
    listening = 0

    async def receive() -> Message:
        nonlocal listening
        listening += 1
        try:
            await asyncio.Event().wait()
        finally:
            listening -= 1
        return GONE

    await BodySender(receive, Outgoing(), LONG_SECONDS, None).run(FakeContent(b"a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert listening == 0
