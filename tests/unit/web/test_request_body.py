"""The body of a request: read ahead within bounds, nothing lost that arrived, every wait with an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from starlette.types import Message

from tests.support.loops import eventually, on_loop
from tests.unit.web.asgi import GONE, Incoming, body
from tusd_py.contracts.body import BodyAborted, BodyTimeout
from tusd_py.web import request_body as source_module
from tusd_py.web.request_body import READ_AHEAD_BYTES, AsgiBody


async def all_of(source: AsgiBody) -> bytes:
    content = b""
    while pieces := await source.read():
        content += b"".join(pieces)
    return content


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@on_loop
async def test_nothing_is_received_before_the_first_read() -> None:
    """To receive is to say ``100 Continue``: not before every check has passed."""
    incoming = Incoming(body(b"abc", more=False))
    source = AsgiBody(incoming, 10)
    await settle()
    assert (len(incoming.left), source.was_read) == (1, False)
    assert await all_of(source) == b"abc"
    assert source.was_read
    assert source.is_ended
    assert await source.read() == ()
    assert source.bytes_received == 3


@on_loop
async def test_a_body_that_came_with_its_head() -> None:
    """It is given out whole without receiving anything, counted, and ended; nothing that stops it comes too late."""
    incoming = Incoming(GONE)
    source = AsgiBody(incoming, 10, take_buffered_body=lambda receive: [b"ab", b"c"] if receive is incoming else None)
    assert source.bytes_received == 0
    assert await source.read() == [b"ab", b"c"]
    source.stop(RuntimeError("stopped"))
    assert await source.read() == ()
    await settle()
    assert (source.bytes_received, source.is_ended, source.is_gone, len(incoming.left)) == (3, True, False, 1)


@on_loop
async def test_an_empty_body_that_came_with_its_head() -> None:
    """Its clean end is there at once."""
    source = AsgiBody(Incoming(GONE), 10, take_buffered_body=lambda _: [])
    assert await source.read() == ()
    assert source.is_ended


@on_loop
async def test_bytes_before_a_cut_are_given_out_first() -> None:
    """The client is gone before anybody read: the bytes come, then the cut, again and again."""
    source = AsgiBody(Incoming(body(b"ab"), body(b"c"), body(b""), GONE), 10)
    assert b"".join(await source.read() or ()) == b"abc"
    for _ in range(2):
        with pytest.raises(BodyAborted):
            await source.read()
    assert source.is_gone
    assert not source.is_ended


@on_loop
async def test_a_server_that_raises_is_a_cut(caplog: pytest.LogCaptureFixture) -> None:
    """Servers and middleware raise what they like: the bytes before it count, and nobody waits for ever."""
    source = AsgiBody(Incoming(body(b"abc"), RuntimeError("no receive after that")), 10)
    assert b"".join(await source.read() or ()) == b"abc"
    with pytest.raises(BodyAborted):
        await source.read()
    assert "no receive after that" in caplog.text


@on_loop
async def test_read_ahead_is_bounded() -> None:
    """A fast client is made to wait when a mebibyte is not taken; every byte arrives in the end."""
    piece = bytes(256 * 1024)
    incoming = Incoming(*[body(piece) for _ in range(20)], body(b"", more=False))
    source = AsgiBody(incoming, 10)
    first = await source.read()
    assert first is not None
    await settle()
    taken = 20 + 1 - len(incoming.left)
    assert taken * len(piece) <= len(b"".join(first)) + READ_AHEAD_BYTES
    assert len(b"".join(first)) + len(await all_of(source)) == 20 * len(piece)


@on_loop
async def test_waiting_has_an_end() -> None:
    """``None`` when nothing came in time; the body goes on after that."""
    go = asyncio.Event()
    source = AsgiBody(Incoming(go, body(b"abc", more=False)), 10)
    assert await source.read(0.01) is None
    go.set()
    assert await source.read(5) == [b"abc"]


@on_loop
async def test_silence_is_a_stall() -> None:
    """The client sends some, then nothing for the idle time: what came is given out, then it has stalled."""
    source = AsgiBody(Incoming(body(b"abc")), 0.03)
    assert await source.read() == [b"abc"]
    with pytest.raises(BodyTimeout):
        await source.read()


@on_loop
async def test_a_trickle_is_no_stall() -> None:
    """Each byte starts the idle time anew."""

    async def trickle() -> Message:
        await asyncio.sleep(0.02)
        return body(b"x", more=len(seen) < 5)

    seen: list[Sequence[bytes]] = []
    source = AsgiBody(trickle, 0.06)
    while pieces := await source.read():
        seen.append(pieces)
    assert len(seen) >= 5


@on_loop
async def test_a_trickle_is_a_stall_where_there_is_a_least_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes keep coming, but too few: what came is given out, then it has stalled."""
    monkeypatch.setattr(source_module, "_RATE_SECONDS", 0.1)

    async def trickle() -> Message:
        await asyncio.sleep(0.01)
        return body(b"x" * 10)

    slow = AsgiBody(trickle, 10, rate_min=5000)
    came = 0
    with pytest.raises(BodyTimeout):
        while pieces := await slow.read():
            came += len(b"".join(pieces))
    assert came == slow.bytes_received > 0
    fast = AsgiBody(trickle, 10, rate_min=10)
    deadline = asyncio.get_running_loop().time() + 0.25
    while asyncio.get_running_loop().time() < deadline:
        assert await fast.read()
    fast.close()


@on_loop
async def test_who_waits_for_us_is_not_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full read-ahead takes no bytes in: the rate of that time is ours."""
    monkeypatch.setattr(source_module, "_RATE_SECONDS", 0.02)
    whole = [body(bytes(READ_AHEAD_BYTES)), body(bytes(READ_AHEAD_BYTES)), body(b"", more=False)]
    source = AsgiBody(Incoming(*whole), 10, rate_min=10**9)
    assert await source.read()
    await settle()
    await asyncio.sleep(0.07)
    assert len(await all_of(source)) == READ_AHEAD_BYTES


@on_loop
async def test_trailers_are_those_of_the_server() -> None:
    """A server that has none gives none."""
    assert list(AsgiBody(Incoming(), 10).trailers()) == []
    trailers = [(b"upload-checksum", b"sha1 x")]
    assert AsgiBody(Incoming(), 10, trailers=lambda: trailers).trailers() == trailers


@on_loop
async def test_who_waits_for_us_does_not_stall() -> None:
    """The read-ahead is full since the disk is slow: that is not the client's fault."""
    source = AsgiBody(Incoming(body(bytes(READ_AHEAD_BYTES)), body(bytes(READ_AHEAD_BYTES)), body(b"", False)), 0.02)
    assert await source.read()
    await settle()
    await asyncio.sleep(0.05)
    assert len(await all_of(source)) == READ_AHEAD_BYTES


@on_loop
async def test_stopping_gives_out_what_arrived_then_the_reason() -> None:
    """What was on its way is still taken; when it is quiet the first reason is raised, again and again."""
    go = asyncio.Event()
    source = AsgiBody(Incoming(body(b"ab"), go, body(b"c")), 10)
    assert await source.read() == [b"ab"]
    source.stop(KeyError("first"))
    source.stop(KeyError("second"))
    go.set()
    assert await source.read() == [b"c"]
    for _ in range(2):
        with pytest.raises(KeyError, match="first"):
            await source.read()
    assert source._task is not None
    await asyncio.wait([source._task])


@on_loop
async def test_a_client_that_goes_on_is_stopped_all_the_same() -> None:
    """It never pauses: the stop has a deadline."""

    async def stream() -> Message:
        await asyncio.sleep(0.001)
        return body(b"x")

    source = AsgiBody(stream, 10)
    await source.read()
    source.stop(KeyError("enough"))
    with pytest.raises(KeyError):
        await asyncio.wait_for(all_of(source), 5)


@on_loop
async def test_stopped_while_the_client_waits() -> None:
    """Also with the read-ahead full and nobody reading: the pump ends and nothing is left running."""
    source = AsgiBody(Incoming(*[body(bytes(READ_AHEAD_BYTES)) for _ in range(3)]), 10)
    await source.read()
    await settle()
    source.stop(KeyError("enough"))
    await eventually(lambda: source._task is not None and source._task.done())
    assert await source.read()
    with pytest.raises(KeyError):
        await source.read()


@on_loop
async def test_stopped_before_it_began() -> None:
    """The server shuts down: a body that nobody has read yet is stopped as soon as somebody does."""
    source = AsgiBody(Incoming(), 10)
    source.stop(KeyError("closed"))
    with pytest.raises(KeyError):
        await source.read()


@on_loop
async def test_a_body_that_ends_while_it_is_stopped_is_whole() -> None:
    """Its last bytes were on their way: better a complete upload than a refused one."""
    go = asyncio.Event()
    source = AsgiBody(Incoming(body(b"ab"), go, body(b"c", more=False)), 10)
    await source.read()
    source.stop(KeyError("closed"))
    go.set()
    assert await all_of(source) == b"c"
    await asyncio.sleep(0.1)
    assert await source.read() == ()


@on_loop
async def test_a_body_that_has_ended_is_not_stopped() -> None:
    """Every byte came: whoever comes now waits for the last save."""
    source = AsgiBody(Incoming(body(b"abc", more=False)), 10)
    await source.read()
    source.stop(KeyError("too late"))
    assert await source.read() == ()
    source.close()


@on_loop
async def test_a_client_below_the_minimum_rate_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps no connection for ever; who sends enough, or waits for us, is left alone."""
    monkeypatch.setattr(source_module, "_RATE_SECONDS", 0.03)

    async def trickle() -> Message:
        await asyncio.sleep(0.005)
        return body(b"x")

    slow = AsgiBody(trickle, 10, 10_000)
    with pytest.raises(BodyTimeout):
        await asyncio.wait_for(all_of(slow), 5)

    async def stream() -> Message:
        await asyncio.sleep(0.005)
        return body(bytes(1000), more=fast.bytes_received < 20_000)

    fast = AsgiBody(stream, 10, 10_000)
    assert len(await asyncio.wait_for(all_of(fast), 5)) >= 20_000

    waiting = AsgiBody(Incoming(*[body(bytes(READ_AHEAD_BYTES)) for _ in range(2)], body(b"", False)), 10, 10_000)
    await waiting.read()
    await asyncio.sleep(0.1)
    assert len(await all_of(waiting)) == READ_AHEAD_BYTES


class Lender:
    """Lends a body once: ``pieces`` had come before, ``bytes_read`` are taken until it is closed."""

    def __init__(self, *pieces: bytes, bytes_read: int) -> None:
        self.pieces: Sequence[bytes] = pieces
        self.bytes_read = 0
        self.is_open = False
        self._will_take = bytes_read

    def acquire_socket(self, receive: object, on_close: Callable[[], None]) -> Lender:
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


@on_loop
async def test_a_brisk_body_is_lent() -> None:
    """After much at once: first comes what was read ahead, then what the server had, then what is moved."""
    go = asyncio.Event()
    incoming = Incoming(body(LARGE), go, body(b"ahead"), asyncio.Event())
    lender = Lender(b"server", bytes_read=300_000)
    source = AsgiBody(incoming, 10, acquire_socket=lender.acquire_socket)
    assert source.acquire_socket() is None, "nothing was read yet: that is what says 100 Continue"
    assert await source.read() == [LARGE]
    go.set()
    await settle()
    reader = source.acquire_socket()
    assert reader is not None
    assert list(reader.pieces) == [b"ahead", b"server"]
    assert reader.splice(-1, 0) == 300_000 == reader.bytes_read
    # Told while it is lent: whoever stops the body looks whether any still come.
    assert source.bytes_received == len(LARGE) + 11 + 300_000
    reader.close()
    assert not lender.is_open
    assert (source.bytes_received, source.bytes_zero_copy) == (len(LARGE) + 11 + 300_000, 300_000)
    assert source.acquire_socket() is not None, "so much came that more is likely"


@on_loop
async def test_a_slow_body_is_read() -> None:
    """Of little at a time, or once little was taken, nothing is lent until much comes at once again."""
    lender = Lender(bytes_read=1000)
    source = AsgiBody(Incoming(body(b"little"), body(LARGE), asyncio.Event()), 10, acquire_socket=lender.acquire_socket)
    assert await source.read() == [b"little", LARGE]
    reader = source.acquire_socket()
    assert reader is not None
    reader.splice(-1, 0)
    reader.close()
    assert source.acquire_socket() is None
    source = AsgiBody(Incoming(body(b"little"), asyncio.Event()), 10, acquire_socket=lender.acquire_socket)
    assert await source.read() == [b"little"]
    assert source.acquire_socket() is None


@on_loop
async def test_a_server_that_does_not_lend() -> None:
    """Other servers, and other moments: the body is read."""
    source = AsgiBody(Incoming(body(LARGE), body(LARGE, more=False)), 10, acquire_socket=lambda receive, on_close: None)
    assert await source.read()
    assert source.acquire_socket() is None
    source = AsgiBody(Incoming(body(LARGE), asyncio.Event()), 10)
    assert await source.read()
    assert source.acquire_socket() is None


@on_loop
async def test_a_stopped_body_is_not_lent() -> None:
    """What still comes of it is read, for as long as a stop allows."""
    lender = Lender(bytes_read=300_000)
    source = AsgiBody(Incoming(body(LARGE), asyncio.Event()), 10, acquire_socket=lender.acquire_socket)
    assert await source.read()
    source.stop(BodyAborted())
    assert source.acquire_socket() is None
    with pytest.raises(BodyAborted):
        await source.read()


@on_loop
async def test_a_slow_file_is_no_stall() -> None:
    """While the body is lent, the client waits for the file."""
    lender = Lender(bytes_read=300_000)
    source = AsgiBody(Incoming(body(LARGE), asyncio.Event()), 0.05, acquire_socket=lender.acquire_socket)
    assert await source.read()
    reader = source.acquire_socket()
    assert reader is not None
    await asyncio.sleep(0.12)
    assert reader.splice(-1, 0)
    reader.close()
    assert await source.read(0.01) is None
