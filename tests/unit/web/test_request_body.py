"""``AsgiBody``: bounded read-ahead, no received byte lost, and a bound for every wait. Time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from starlette.types import Message, Receive

from tests.support.virtual_time import VIRTUAL_TIME
from tests.unit.web.asgi import GONE, Incoming, body
from tusd_py.contracts.body import BodyAborted, BodyTimeout
from tusd_py.protocol.errors import ServerShutdown
from tusd_py.web.request_body import (
    QUIET_SECONDS,
    RATE_WINDOW_SECONDS,
    READ_AHEAD_BYTES,
    STOP_SECONDS,
    ActiveBodies,
    AsgiBody,
)

pytestmark = pytest.mark.anyio

IDLE_SECONDS = 30.0
FULL = bytes(READ_AHEAD_BYTES)


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


def now() -> float:
    return asyncio.get_running_loop().time()


async def read_all(request_body: AsgiBody) -> bytes:
    content = b""
    while pieces := await request_body.read():
        content += b"".join(pieces)
    return content


async def run_tasks() -> None:
    """Let every task run as far as it can without any time passing."""
    for _ in range(5):
        await asyncio.sleep(0)


class Periodic:
    """A ``receive`` that returns ``piece`` every ``seconds``, ``count`` times, then the end."""

    def __init__(self, piece: bytes, seconds: float, count: int = 10**9) -> None:
        self._piece, self._seconds, self._left = piece, seconds, count

    async def __call__(self) -> Message:
        await asyncio.sleep(self._seconds)
        self._left -= 1
        return body(self._piece, more=self._left > 0)


# Reading


async def test_nothing_is_received_before_the_first_read() -> None:
    """Receiving makes the HTTP server send ``100 Continue``, so every check comes before it."""
    incoming = Incoming(body(b"abc", more=False))
    request_body = AsgiBody(incoming, IDLE_SECONDS)
    await run_tasks()
    assert (len(incoming.left), request_body.was_read) == (1, False)
    assert await read_all(request_body) == b"abc"
    assert request_body.was_read
    assert request_body.is_ended
    assert await request_body.read() == ()
    assert request_body.bytes_received == 3


async def test_buffered_body_is_returned_without_receiving() -> None:
    """A body that arrived with the head is returned at once, counted and ended; a later ``stop`` changes nothing."""
    incoming = Incoming(GONE)
    request_body = AsgiBody(
        incoming, IDLE_SECONDS, take_buffered_body=lambda receive: [b"ab", b"c"] if receive is incoming else None
    )
    assert request_body.bytes_received == 0
    assert await request_body.read() == [b"ab", b"c"]
    request_body.stop(RuntimeError("stopped"))
    assert await request_body.read() == ()
    await run_tasks()
    assert (request_body.bytes_received, len(incoming.left)) == (3, 1)
    assert (request_body.is_ended, request_body.is_gone) == (True, False)


async def test_buffered_empty_body_is_ended() -> None:
    """An empty body that arrived with the head has ended at the first read."""
    request_body = AsgiBody(Incoming(GONE), IDLE_SECONDS, take_buffered_body=lambda _: [])
    assert await request_body.read() == ()
    assert request_body.is_ended


async def test_bytes_before_a_disconnect_are_returned_first() -> None:
    """After the bytes received before the disconnect, every read raises ``BodyAborted``."""
    request_body = AsgiBody(Incoming(body(b"ab"), body(b"c"), body(b""), GONE), IDLE_SECONDS)
    assert b"".join(await request_body.read() or ()) == b"abc"
    for _ in range(2):
        with pytest.raises(BodyAborted):
            await request_body.read()
    assert request_body.is_gone
    assert not request_body.is_ended


async def test_exception_of_receive_is_a_disconnect(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of the HTTP server or a middleware is logged; the bytes received before it are returned."""
    request_body = AsgiBody(Incoming(body(b"abc"), RuntimeError("no receive after that")), IDLE_SECONDS)
    assert b"".join(await request_body.read() or ()) == b"abc"
    with pytest.raises(BodyAborted):
        await request_body.read()
    assert "no receive after that" in caplog.text


async def test_read_ahead_is_bounded() -> None:
    """At most ``READ_AHEAD_BYTES`` are buffered beyond what was read; every byte is returned in the end."""
    piece = bytes(256 * 1024)
    incoming = Incoming(*[body(piece) for _ in range(20)], body(b"", more=False))
    request_body = AsgiBody(incoming, IDLE_SECONDS)
    first = await request_body.read()
    assert first is not None
    await run_tasks()
    received = 20 + 1 - len(incoming.left)
    assert received * len(piece) <= len(b"".join(first)) + READ_AHEAD_BYTES
    assert len(b"".join(first)) + len(await read_all(request_body)) == 20 * len(piece)


async def test_read_with_wait_seconds_returns_none() -> None:
    """If nothing arrives within ``wait_seconds``, read returns ``None``, and a later read continues."""
    go = asyncio.Event()
    request_body = AsgiBody(Incoming(go, body(b"abc", more=False)), IDLE_SECONDS)
    assert await request_body.read(5) is None
    assert now() == pytest.approx(5)
    go.set()
    assert await request_body.read(5) == [b"abc"]


async def test_trailers_come_from_the_server() -> None:
    """The trailers are those of the HTTP server, or none if it has none."""
    assert list(AsgiBody(Incoming(), IDLE_SECONDS).trailers()) == []
    trailers = [(b"upload-checksum", b"sha1 x")]
    assert AsgiBody(Incoming(), IDLE_SECONDS, trailers=lambda: trailers).trailers() == trailers


# Idle time


async def test_silence_for_the_idle_time_is_a_timeout() -> None:
    """What arrived is returned; when the idle time has passed without a byte, read raises ``BodyTimeout``."""
    request_body = AsgiBody(Incoming(body(b"abc")), IDLE_SECONDS)
    assert await request_body.read() == [b"abc"]
    with pytest.raises(BodyTimeout):
        await request_body.read()
    assert now() == pytest.approx(IDLE_SECONDS)


async def test_each_byte_restarts_the_idle_time() -> None:
    """A body that pauses for less than the idle time is read to its end."""
    request_body = AsgiBody(Periodic(b"x", IDLE_SECONDS - 1, count=5), IDLE_SECONDS)
    assert await read_all(request_body) == b"xxxxx"
    assert now() == pytest.approx(5 * (IDLE_SECONDS - 1))


async def test_idle_time_zero_waits_without_bound() -> None:
    """With ``idle_seconds`` 0 a pause of any length is accepted."""
    assert await read_all(AsgiBody(Periodic(b"x", 10**6, count=2), 0)) == b"xx"


async def test_full_buffer_is_not_idle() -> None:
    """While the buffer is full the server does not receive, so the idle time does not run."""
    request_body = AsgiBody(Incoming(body(FULL), body(FULL), body(b"", more=False)), IDLE_SECONDS)
    assert await request_body.read()
    await asyncio.sleep(3 * IDLE_SECONDS)
    assert len(await read_all(request_body)) == READ_AHEAD_BYTES


# Minimum rate


async def test_body_below_the_minimum_rate_is_a_timeout() -> None:
    """Bytes keep arriving but too few in one window: they are returned, then read raises ``BodyTimeout``."""
    request_body = AsgiBody(Periodic(b"x" * 10, 0.1), IDLE_SECONDS, rate_min=101)
    received = 0
    with pytest.raises(BodyTimeout):
        while pieces := await request_body.read():
            received += len(b"".join(pieces))
    assert received == request_body.bytes_received > 0
    assert now() == pytest.approx(RATE_WINDOW_SECONDS)


async def test_body_above_the_minimum_rate_is_read() -> None:
    """A rate above the minimum is accepted in every window."""
    seconds = 3.5 * RATE_WINDOW_SECONDS
    request_body = AsgiBody(Periodic(b"x" * 10, 0.1, count=int(seconds * 10)), IDLE_SECONDS, rate_min=99)
    assert len(await read_all(request_body)) == int(seconds * 10) * 10
    assert now() == pytest.approx(seconds)


async def test_body_that_becomes_slow_is_a_timeout() -> None:
    """The rate is that of the last window, not of the whole body."""

    async def receive() -> Message:
        is_first = request_body.bytes_received == 0
        await asyncio.sleep(0 if is_first else 1)
        return body(bytes(100_000) if is_first else b"x")

    request_body = AsgiBody(receive, IDLE_SECONDS, rate_min=100)
    with pytest.raises(BodyTimeout):
        await read_all(request_body)
    assert now() == pytest.approx(2 * RATE_WINDOW_SECONDS)


async def test_full_buffer_is_not_below_the_minimum_rate() -> None:
    """In a window in which the buffer was full, the server set the rate."""
    request_body = AsgiBody(Incoming(body(FULL), body(FULL), body(b"", more=False)), 10**6, rate_min=10**9)
    assert await request_body.read()
    await asyncio.sleep(3.5 * RATE_WINDOW_SECONDS)
    assert len(await read_all(request_body)) == READ_AHEAD_BYTES


# Stopping


async def test_stop_returns_what_arrives_then_raises_the_first_reason() -> None:
    """Bytes that arrive just after the stop are returned; then every read raises the reason of the first stop."""
    go = asyncio.Event()
    request_body = AsgiBody(Incoming(body(b"ab"), go, body(b"c")), IDLE_SECONDS)
    assert await request_body.read() == [b"ab"]
    request_body.stop(KeyError("first"))
    request_body.stop(KeyError("second"))
    go.set()
    assert await request_body.read() == [b"c"]
    for _ in range(2):
        with pytest.raises(KeyError, match="first"):
            await request_body.read()
    assert now() == pytest.approx(2 * QUIET_SECONDS)
    await run_tasks()
    assert request_body._task is not None
    assert request_body._task.done()


async def test_stop_has_a_deadline() -> None:
    """A client that never pauses is cut off after ``STOP_SECONDS``."""
    request_body = AsgiBody(Periodic(b"x", QUIET_SECONDS / 10), IDLE_SECONDS)
    await request_body.read()
    stopped_at = now()
    request_body.stop(KeyError("enough"))
    with pytest.raises(KeyError):
        await read_all(request_body)
    assert STOP_SECONDS <= now() - stopped_at + 1e-9 <= STOP_SECONDS + QUIET_SECONDS + 1e-9


async def test_stop_with_a_full_buffer_ends_the_task() -> None:
    """A stopped body that is not read keeps no task running; the buffered bytes are still returned."""
    request_body = AsgiBody(Incoming(*[body(FULL) for _ in range(3)]), IDLE_SECONDS)
    await request_body.read()
    await run_tasks()
    request_body.stop(KeyError("enough"))
    await asyncio.sleep(STOP_SECONDS)
    assert request_body._task is not None
    assert request_body._task.done()
    assert await request_body.read()
    with pytest.raises(KeyError):
        await request_body.read()


async def test_stop_before_the_first_read() -> None:
    """A body that is stopped before it is read raises the reason at its first read."""
    request_body = AsgiBody(Incoming(), IDLE_SECONDS)
    request_body.stop(KeyError("closed"))
    with pytest.raises(KeyError):
        await request_body.read()


async def test_body_that_ends_while_it_is_stopped_is_complete() -> None:
    """If the end arrives within the quiet time, the body is complete: a complete upload is better than a refusal."""
    go = asyncio.Event()
    request_body = AsgiBody(Incoming(body(b"ab"), go, body(b"c", more=False)), IDLE_SECONDS)
    await request_body.read()
    request_body.stop(KeyError("closed"))
    go.set()
    assert await read_all(request_body) == b"c"
    await asyncio.sleep(1)
    assert await request_body.read() == ()


async def test_stop_after_the_end_does_nothing() -> None:
    """A body that has ended is complete, whatever stops it afterwards."""
    request_body = AsgiBody(Incoming(body(b"abc", more=False)), IDLE_SECONDS)
    await request_body.read()
    request_body.stop(KeyError("too late"))
    assert await request_body.read() == ()
    request_body.close()


async def test_active_bodies_stop_at_shutdown() -> None:
    """Draining stops the registered bodies and those added later, until it is reopened; ended ones are removed."""
    bodies = [AsgiBody(Incoming(), IDLE_SECONDS) for _ in range(4)]
    active = ActiveBodies()
    active.add(bodies[0])
    active.add(bodies[1])
    active.discard(bodies[1])
    active.drain()
    active.add(bodies[2])
    assert active.is_draining
    active.reopen()
    active.add(bodies[3])
    assert not active.is_draining
    for is_stopped, request_body in zip((True, False, True, False), bodies, strict=True):
        if is_stopped:
            with pytest.raises(ServerShutdown):
                await request_body.read(1)
        else:
            assert await request_body.read(1) is None
            request_body.close()


# Zero-copy


class FakeReader:
    """Lends a body once: ``pieces`` had come before, ``bytes_read`` are taken until it is closed."""

    def __init__(self, *pieces: bytes, bytes_read: int) -> None:
        self.pieces: Sequence[bytes] = pieces
        self.bytes_max = 2**30
        self.bytes_read = 0
        self.is_open = False
        self._will_take = bytes_read

    def acquire_socket(self, receive: object, on_close: Callable[[], None]) -> FakeReader:
        self.is_open = True
        self._on_close = on_close
        return self

    def splice(self, descriptor: int, offset: int) -> int:
        moved, self._will_take = self._will_take, 0
        self.bytes_read += moved
        return moved

    can_splice = True

    def read_into(self, buffer: memoryview) -> int:
        taken = min(len(buffer), self._will_take)
        self._will_take -= taken
        self.bytes_read += taken
        return taken

    def close(self) -> None:
        self.is_open = False
        self._on_close()


LARGE = bytes(64 * 1024)


def zero_copy_body(
    incoming: Incoming, acquire_socket: Callable[[Receive, Callable[[], None]], FakeReader | None]
) -> AsgiBody:
    return AsgiBody(incoming, IDLE_SECONDS, acquire_socket=acquire_socket)


async def test_fast_body_acquires_the_socket() -> None:
    """After a large read: first the pieces read ahead, then those of the server, then the bytes of the socket."""
    go = asyncio.Event()
    incoming = Incoming(body(LARGE), go, body(b"ahead"), asyncio.Event())
    fake_reader = FakeReader(b"server", bytes_read=300_000)
    request_body = zero_copy_body(incoming, fake_reader.acquire_socket)
    assert request_body.acquire_socket() is None, "nothing was read yet, so no 100 Continue was sent"
    assert await request_body.read() == [LARGE]
    go.set()
    await run_tasks()
    reader = request_body.acquire_socket()
    assert reader is not None
    assert list(reader.pieces) == [b"ahead", b"server"]
    assert reader.splice(-1, 0) == 300_000 == reader.bytes_read
    # Counted before it is closed: code that stops the body checks whether bytes still arrive.
    assert request_body.bytes_received == len(LARGE) + 11 + 300_000
    reader.close()
    assert not fake_reader.is_open
    assert (request_body.bytes_received, request_body.bytes_zero_copy) == (len(LARGE) + 11 + 300_000, 300_000)
    assert request_body.acquire_socket() is not None, "after so many bytes, more are likely"


async def test_slow_body_is_read_in_pieces() -> None:
    """After a small read, or once few bytes came from the socket, the socket is not used until a large read."""
    fake_reader = FakeReader(bytes_read=1000)
    request_body = AsgiBody(
        Incoming(body(b"little"), body(LARGE), asyncio.Event()), IDLE_SECONDS, acquire_socket=fake_reader.acquire_socket
    )
    assert await request_body.read() == [b"little", LARGE]
    reader = request_body.acquire_socket()
    assert reader is not None
    reader.splice(-1, 0)
    reader.close()
    assert request_body.acquire_socket() is None
    request_body.close()
    request_body = AsgiBody(
        Incoming(body(b"little"), asyncio.Event()), IDLE_SECONDS, acquire_socket=fake_reader.acquire_socket
    )
    assert await request_body.read() == [b"little"]
    assert request_body.acquire_socket() is None
    request_body.close()


async def test_server_without_zero_copy() -> None:
    """If the server refuses or does not offer the socket, the body is read in pieces."""
    request_body = AsgiBody(
        Incoming(body(LARGE), body(LARGE, more=False)), IDLE_SECONDS, acquire_socket=lambda receive, on_close: None
    )
    assert await request_body.read()
    assert request_body.acquire_socket() is None
    request_body = AsgiBody(Incoming(body(LARGE), asyncio.Event()), IDLE_SECONDS)
    assert await request_body.read()
    assert request_body.acquire_socket() is None
    request_body.close()


async def test_stopped_body_does_not_acquire_the_socket() -> None:
    """What still arrives after a stop is read in pieces."""
    fake_reader = FakeReader(bytes_read=300_000)
    request_body = AsgiBody(
        Incoming(body(LARGE), asyncio.Event()), IDLE_SECONDS, acquire_socket=fake_reader.acquire_socket
    )
    assert await request_body.read()
    request_body.stop(BodyAborted())
    assert request_body.acquire_socket() is None
    with pytest.raises(BodyAborted):
        await request_body.read()


async def test_slow_file_is_not_idle() -> None:
    """While the socket is in use the client waits for the file, so the idle time does not run."""
    fake_reader = FakeReader(bytes_read=300_000)
    request_body = AsgiBody(
        Incoming(body(LARGE), asyncio.Event()), IDLE_SECONDS, acquire_socket=fake_reader.acquire_socket
    )
    assert await request_body.read()
    reader = request_body.acquire_socket()
    assert reader is not None
    await asyncio.sleep(3.5 * IDLE_SECONDS)
    assert reader.splice(-1, 0)
    reader.close()
    assert await request_body.read(IDLE_SECONDS - 1) is None
    request_body.close()
