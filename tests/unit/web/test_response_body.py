"""``BodySender``: zero-copy where store and server support it, else pieces; nothing stays open however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from starlette.types import Message, Send

from tests.support.virtual_time import VIRTUAL_TIME
from tests.unit.web.asgi import GONE, Incoming, Outgoing
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.contracts.zero_copy import SocketWriter
from tusd_py.web.response_body import SEND_BYTES, BodySender

pytestmark = pytest.mark.anyio

IDLE_SECONDS = 60.0


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


class FakeContent:
    """Content with zero-copy: a list of pieces that are read or moved to the socket."""

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
    """A socket writer that takes this many pieces of content."""

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
    """A server that grants these socket writers, one after another; then none."""

    def __init__(self, *writers: FakeWriter | None) -> None:
        self.writers = list(writers)
        self.senders: list[Send] = []

    async def __call__(self, send: Send) -> FakeWriter | None:
        self.senders.append(send)
        return self.writers.pop(0) if self.writers else None


async def test_zero_copy_is_used_after_the_first_piece() -> None:
    """If the socket takes nothing, one piece is sent and zero-copy is tried again."""
    file_content = FakeContent(b"a", b"bb", b"ccc", b"dddd", b"eeeee")
    server = FakeServer(FakeWriter(1), FakeWriter(1), FakeWriter(0), FakeWriter(5))
    out = Outgoing()
    sender = BodySender(Incoming(), out, IDLE_SECONDS, server)
    writers = list(server.writers)
    await sender.run(file_content)
    bodies = [message["body"] for message in out.messages]
    assert ([b"a", b"dddd", b""], [b"bb", b"ccc", b"eeeee"]) == (bodies, file_content.transferred)
    assert (15, 10) == (sender.bytes_sent, sender.bytes_zero_copy)
    assert [1, 1, 1, 1] == [writer.closed for writer in writers if writer is not None]
    assert all(send is out for send in server.senders)
    assert out.messages[-1].get("more_body", False) is False


async def test_content_without_zero_copy() -> None:
    """Content without zero-copy is sent in pieces, and the server is not asked for its socket."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"x" * (SEND_BYTES + 1)

    server = FakeServer(FakeWriter(9))
    out = Outgoing()
    sender = BodySender(Incoming(), out, IDLE_SECONDS, server)
    await sender.run(pieces())
    assert [SEND_BYTES, 1, 0] == [len(message["body"]) for message in out.messages]
    assert (server.senders, sender.bytes_sent, sender.bytes_zero_copy) == ([], SEND_BYTES + 1, 0)


@pytest.mark.parametrize("has_zero_copy", [False, True])
async def test_server_without_zero_copy(has_zero_copy: bool) -> None:
    """If the server has no zero-copy, or not now, everything is sent in pieces."""
    out = Outgoing()
    sender = BodySender(Incoming(), out, IDLE_SECONDS, FakeServer() if has_zero_copy else None)
    await sender.run(FakeContent(b"a", b"b"))
    assert (b"ab", sender.bytes_zero_copy) == (b"".join(message["body"] for message in out.messages), 0)


async def test_disconnect_during_zero_copy() -> None:
    """Nothing more is sent, and the end of the body is not sent either."""
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
    file_content = FakeContent(*[b"x"] * 1000)
    await BodySender(Incoming(left, GONE), out, IDLE_SECONDS, acquire).run(file_content)
    assert len(file_content.steps) > 900
    assert all(message["more_body"] for message in out.messages)


class Stalling(Outgoing):
    """Takes this many messages, and each of them only after some time; then none."""

    def __init__(self, takes: int, seconds: float) -> None:
        super().__init__()
        self._takes, self._seconds = takes, seconds

    async def __call__(self, message: Message) -> None:
        if len(self.messages) == self._takes:
            await asyncio.Event().wait()
        await asyncio.sleep(self._seconds)
        await super().__call__(message)


async def test_stalled_client_of_another_server() -> None:
    """If a piece is not taken within the idle time, ``run`` raises ``TimeoutError``."""
    out = Stalling(3, IDLE_SECONDS * 0.9)
    sender = BodySender(Incoming(), out, IDLE_SECONDS, None)
    with pytest.raises(TimeoutError):
        await sender.run(FakeContent(*[b"abc"] * 5))
    assert asyncio.get_running_loop().time() == pytest.approx(IDLE_SECONDS * (3 * 0.9 + 1))
    assert sender.bytes_sent == 9
    assert all(message["more_body"] for message in out.messages)


async def test_slow_client_of_our_server() -> None:
    """Our server has a deadline of its own: ``BodySender`` has none."""
    out = Stalling(9, IDLE_SECONDS * 2)
    await BodySender(Incoming(), out, IDLE_SECONDS, FakeServer()).run(FakeContent(b"a", b"b"))
    assert b"".join(message["body"] for message in out.messages) == b"ab"


async def test_failing_file_releases_the_socket() -> None:
    """If the file fails, the socket is released and the exception is raised."""
    writer = FakeWriter(1)
    out = Outgoing()
    with pytest.raises(StoreUnavailable):
        failing = FakeContent(b"a", b"b", failure=StoreUnavailable("it broke"))
        await BodySender(Incoming(), out, IDLE_SECONDS, FakeServer(writer)).run(failing)
    assert writer.closed == 1
    assert all(message["more_body"] for message in out.messages)


async def test_receive_is_free_afterwards() -> None:
    """At the end no task waits in ``receive`` any more."""
    listening = 0

    async def receive() -> Message:
        nonlocal listening
        listening += 1
        try:
            await asyncio.Event().wait()
        finally:
            listening -= 1
        return GONE

    await BodySender(receive, Outgoing(), IDLE_SECONDS, None).run(FakeContent(b"a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert listening == 0
