"""Bodies at a pace, in virtual time: how long they take, who gets what, and what ends a wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from starlette.types import Message

from tests.support.virtual_time import VIRTUAL_TIME
from tusd_py.access.bandwidth import Bandwidth
from tusd_py.contracts.body import BodyAborted, BodyTimeout
from tusd_py.contracts.zero_copy import ZeroCopyBody
from tusd_py.web.paced_body import PacedBody
from tusd_py.web.request_body import RATE_WINDOW_SECONDS, AsgiBody

pytestmark = pytest.mark.anyio

KIB, MIB = 1024, 1024 * 1024
PIECE = bytes(64 * KIB)


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


def now() -> float:
    return asyncio.get_running_loop().time()


def client(size: int, piece: bytes = PIECE, seconds: float = 0.0, *, gone: bool = False) -> Callable[[], object]:
    """A ``receive`` of a body of ``size`` bytes, a piece every ``seconds``; with ``gone`` it never ends."""
    left = size

    async def receive() -> Message:
        nonlocal left
        await asyncio.sleep(seconds)
        left -= len(piece)
        if left < 0 and gone:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece if left >= 0 else b"", "more_body": left > 0 or gone}

    return receive


def paced(bandwidth: Bandwidth, receive: object, subject: str = "user:a", upload_id: str = "u") -> PacedBody:
    body = AsgiBody(receive, 30.0, 1000)  # type: ignore[arg-type]
    return PacedBody(body, bandwidth.pace(subject, upload_id, now()))


async def receive_all(body: PacedBody) -> tuple[int, float]:
    """How many bytes the body had, and when its end was reached."""
    count = 0
    while (pieces := await body.read()) != ():
        count += sum(map(len, pieces or ()))
    body.close()
    return count, now()


@pytest.mark.parametrize("rate", [100 * KIB, MIB, 20 * MIB])
async def test_takes_as_long_as_the_rate_says(rate: int) -> None:
    """The end of the body is reached when all of its bytes are paid, whatever the rate."""
    count, ended_at = await receive_all(paced(Bandwidth(per_upload=rate), client(20 * MIB)))
    assert count == 20 * MIB
    assert ended_at == pytest.approx(20 * MIB / rate)


async def test_small_body_is_paid_too() -> None:
    """One that has arrived with its head waits before its end."""
    body = AsgiBody(client(0), 30.0, 0, take_buffered_body=lambda _: [bytes(3000)])  # type: ignore[arg-type]
    bandwidth = Bandwidth(per_upload=1000)
    assert await receive_all(PacedBody(body, bandwidth.pace("user:a", "u", now()))) == (3000, 3.0)


async def test_uploads_of_one_owner_get_equal_shares() -> None:
    """Four uploads of one size end at about the same time, when all of their bytes are paid; others are free."""
    bandwidth = Bandwidth(per_owner=MIB)
    bodies = [paced(bandwidth, client(2 * MIB), upload_id=f"u{number}") for number in range(4)]
    other = paced(bandwidth, client(MIB), "user:b", "other")
    *ended, alone = [at for _, at in await asyncio.gather(*map(receive_all, [*bodies, other]))]
    assert max(ended) == pytest.approx(8.0, abs=0.1)
    assert min(ended) > 7.0
    assert alone == pytest.approx(1.0)


async def test_slow_client_leaves_its_share_to_the_others() -> None:
    """Beside a client that brings little, another of the same owner gets nearly all of the rate."""
    bandwidth = Bandwidth(per_owner=MIB)
    slow = asyncio.create_task(receive_all(paced(bandwidth, client(10 * MIB, bytes(KIB), 0.1), upload_id="slow")))
    _, ended_at = await receive_all(paced(bandwidth, client(10 * MIB), upload_id="fast"))
    assert 10.0 < ended_at < 11.0
    slow.cancel()


async def test_paced_body_is_not_too_slow_for_the_server() -> None:
    """A rate below ``body_rate_min`` and waits beyond ``body_idle_seconds`` end no body: the server is slow."""
    _, ended_at = await receive_all(paced(Bandwidth(per_upload=500), client(MIB)))
    assert ended_at == pytest.approx(MIB / 500)


async def test_client_below_the_least_rate_is_still_cut_off() -> None:
    """One that is slower than both rates ends as without a pace."""
    with pytest.raises(BodyTimeout):
        await receive_all(paced(Bandwidth(per_upload=MIB), client(MIB, b"x", 1.0)))
    assert now() <= 2 * RATE_WINDOW_SECONDS + 1


async def test_stop_ends_a_wait_at_once() -> None:
    """A takeover does not wait for the pace: what has arrived is passed on, then the reason is raised."""
    body = paced(Bandwidth(per_upload=1000), client(MIB, seconds=0.02))
    assert await body.read()
    stopping_at = now() + 5
    asyncio.get_running_loop().call_at(stopping_at, body.stop, RuntimeError("taken over"))
    with pytest.raises(RuntimeError, match="taken over"):
        await receive_all(body)
    assert now() - stopping_at < 0.1
    body.close()


async def test_waits_no_longer_than_its_caller_wants() -> None:
    """The record is saved meanwhile: ``read`` returns ``None`` in time, and the wait goes on with the next call."""
    body = paced(Bandwidth(per_upload=64 * KIB), client(MIB))
    assert await body.read(0.5)
    started = now()
    assert await body.read(0.25) is None
    assert now() == started + 0.25
    body.close()


async def test_bytes_before_a_disconnect_count() -> None:
    """A client that is gone: every byte that arrived is returned, then the disconnect."""
    body = paced(Bandwidth(per_upload=MIB), client(3 * len(PIECE), gone=True))
    count = 0
    with pytest.raises(BodyAborted):
        while True:
            count += sum(map(len, await body.read() or ()))
    assert count == 3 * len(PIECE)
    assert (body.bytes_received, body.bytes_zero_copy, body.was_read, body.is_ended, body.is_gone) == (
        count,
        0,
        True,
        False,
        True,
    )
    body.close()
    body.close()


class FakeServer:
    """The server's side of a body that is attached: it passes on pieces unless it is paused, and lends its socket."""

    bytes_max = 0
    bytes_read = 0
    pieces = ()

    def __init__(self) -> None:
        self.is_paused = False
        self.body: AsgiBody | None = None

    def attach(self, _receive: object, body: AsgiBody) -> FakeServer:
        self.body = body
        return self

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def detach(self) -> None:
        self.body = None


async def test_socket_is_acquired_for_one_turn() -> None:
    """Zero-copy stays possible: nothing is received while the body waits, and a burst takes one turn at most."""
    server = FakeServer()
    body = AsgiBody(
        client(0),  # type: ignore[arg-type]
        5.0,
        1000,
        acquire_socket=lambda _receive, _on_close: server,  # type: ignore[arg-type,return-value]
        attach_body=server.attach,
    )
    paced_body = PacedBody(body, Bandwidth(per_upload=4 * MIB).pace("a", "u", now()))
    assert isinstance(paced_body, ZeroCopyBody)
    asyncio.get_running_loop().call_later(1, body.on_piece, bytes(100 * MIB))
    assert await paced_body.read()
    assert paced_body.acquire_socket() is None
    reading = asyncio.create_task(paced_body.read())
    await asyncio.sleep(20)  # beyond body_idle_seconds, and without the bytes that body_rate_min asks for
    assert server.is_paused
    assert await reading is None, "it has waited: its caller may try the socket again"
    assert now() == pytest.approx(26.0)
    acquired: object = paced_body.acquire_socket()
    assert acquired is server
    assert server.bytes_max == MIB
    body._on_reader_closed()
    server.resume_reading()  # as it does when its socket is given back
    reading = asyncio.create_task(paced_body.read())
    await asyncio.sleep(0)
    assert not server.is_paused
    paced_body.stop(RuntimeError("taken over"))
    with pytest.raises(RuntimeError, match="taken over"):
        await reading
    paced_body.close()
