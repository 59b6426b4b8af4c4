"""``AsgiBody`` that wakes its reader only for as many bytes as that wants, and gets its pieces from our own server."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Receive

from tests.support.virtual_time import VIRTUAL_TIME
from tests.unit.web.asgi import GONE, Incoming, body
from tests.unit.web.test_request_body import FULL, IDLE_SECONDS, Periodic, now, run_tasks
from tusd_py.contracts.body import BodyAborted, BodyTimeout
from tusd_py.web.request_body import QUIET_SECONDS, AsgiBody

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


# Gathering


async def test_read_waits_for_the_bytes_that_are_wanted() -> None:
    """A slow body wakes its reader once for many pieces: when enough have arrived, or the time is over."""
    request_body = AsgiBody(Periodic(b"x" * 10, 1.0), IDLE_SECONDS)
    assert b"".join(await request_body.read(60, 35) or ()) == b"x" * 40
    assert now() == pytest.approx(4)
    assert b"".join(await request_body.read(2.5, 1000) or ()) == b"x" * 20
    assert now() == pytest.approx(6.5)
    request_body.close()


async def test_end_and_errors_do_not_wait_for_more_bytes() -> None:
    """However many bytes are wanted: the end, a disconnect and a stop come at once, behind what arrived."""
    ended = AsgiBody(Incoming(body(b"ab"), body(b"c", more=False)), IDLE_SECONDS)
    assert b"".join(await ended.read(None, 1000) or ()) == b"abc"
    assert await ended.read(None, 1000) == ()
    cut = AsgiBody(Incoming(body(b"ab"), GONE), IDLE_SECONDS)
    assert b"".join(await cut.read(None, 1000) or ()) == b"ab"
    with pytest.raises(BodyAborted):
        await cut.read(None, 1000)
    stopped = AsgiBody(Incoming(body(b"ab")), IDLE_SECONDS)
    asyncio.get_running_loop().call_later(5, stopped.stop, KeyError("stopped"))
    assert b"".join(await stopped.read(None, 1000) or ()) == b"ab"
    with pytest.raises(KeyError):
        await stopped.read(None, 1000)
    assert now() == pytest.approx(5 + QUIET_SECONDS)


# Attached to the server


class FakeFeed:
    """The server's side of an attached body."""

    def __init__(self) -> None:
        self.body: AsgiBody | None = None
        self.calls: list[str] = []

    def attach(self, receive: Receive, listener: AsgiBody) -> FakeFeed:
        self.body = listener
        return self

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def detach(self) -> None:
        self.calls.append("detach")


def attached(feed: FakeFeed) -> AsgiBody:
    return AsgiBody(Incoming(), IDLE_SECONDS, attach_body=feed.attach)


async def test_attached_body_needs_no_task() -> None:
    """The server calls the body, which starts no task and wakes its reader for as many bytes as that wants."""
    feed = FakeFeed()
    request_body = attached(feed)
    assert feed.body is None, "attaching sends 100 Continue"
    reading = asyncio.ensure_future(request_body.read(60, 3))
    await run_tasks()
    assert feed.body is request_body
    assert request_body._task is None
    request_body.on_piece(b"ab")
    await run_tasks()
    assert not reading.done()
    request_body.on_piece(b"c")
    assert await reading == [b"ab", b"c"]
    request_body.on_piece(b"d")
    request_body.on_end()
    assert await request_body.read() == [b"d"]
    assert await request_body.read() == ()
    assert (request_body.bytes_received, request_body.is_ended, feed.calls) == (4, True, [])


async def test_attached_body_is_bounded() -> None:
    """A full buffer pauses the connection, is not the client's silence, and taking it resumes."""
    feed = FakeFeed()
    request_body = attached(feed)
    assert await request_body.read(1) is None
    request_body.on_piece(FULL)
    assert feed.calls == ["pause"]
    await asyncio.sleep(3 * IDLE_SECONDS)
    assert await request_body.read() == [FULL]
    assert feed.calls == ["pause", "resume"]
    resumed_at = now()
    with pytest.raises(BodyTimeout):
        await request_body.read()
    assert now() == pytest.approx(resumed_at + IDLE_SECONDS)
    assert feed.calls[2:] == ["detach"]


async def test_attached_body_that_is_cut() -> None:
    """The bytes before the disconnect are returned first."""
    request_body = attached(FakeFeed())
    assert await request_body.read(1) is None
    request_body.on_piece(b"ab")
    request_body.on_disconnect()
    assert await request_body.read(1, 1000) == [b"ab"]
    with pytest.raises(BodyAborted):
        await request_body.read()
    assert request_body.is_gone


async def test_body_that_is_attached_after_its_end() -> None:
    """What has arrived is passed on while the body is attached, the end included."""

    def attach(receive: Receive, listener: AsgiBody) -> FakeFeed:
        listener.on_piece(b"abc")
        listener.on_end()
        return FakeFeed()

    request_body = AsgiBody(Incoming(), IDLE_SECONDS, attach_body=attach)
    assert await request_body.read() == [b"abc"]
    assert await request_body.read() == ()
    request_body.close()


async def test_server_that_cannot_attach() -> None:
    """The body is received by a task then, as from any other server."""
    request_body = AsgiBody(Incoming(body(b"abc", more=False)), IDLE_SECONDS, attach_body=lambda receive, _: None)
    assert await request_body.read() == [b"abc"]
