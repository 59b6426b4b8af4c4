"""``early_response.send``: a small rest of the body is read, a large one closes the connection. Time is virtual."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.content import MIB
from tests.support.virtual_time import VIRTUAL_TIME
from tests.unit.web.asgi import GONE, Incoming, Outgoing, body
from tusd_py.web import early_response

pytestmark = pytest.mark.anyio

HEADERS = [(b"content-length", b"2")]


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


async def respond(
    incoming: Incoming, unread_bytes: int | None, may_read: bool = True, read_bytes_max: int = 0
) -> Outgoing:
    out = Outgoing()
    await early_response.send(out, incoming, 409, HEADERS, b"no", unread_bytes, may_read, read_bytes_max)
    assert (out.status, out.body, out.is_over) == (409, b"no", True)
    return out


async def test_small_rest_is_read_and_the_connection_kept() -> None:
    """The client can send its next request on the same connection."""
    incoming = Incoming(body(b"abc"), body(b"de", more=False))
    assert "connection" not in (await respond(incoming, 5)).headers
    assert incoming.left == []


async def test_large_rest_closes_the_connection() -> None:
    """The response is sent at once; about a mebibyte is read, then one piece at a time until the time is over."""
    piece = bytes(256 * 1024)
    incoming = Incoming(*[body(piece) for _ in range(40)])
    assert (await respond(incoming, None)).headers["connection"] == "close"
    pieces_read = 40 - len(incoming.left)
    # Four pieces are 1 MiB; then the server pauses 0.1 s after each piece, for 2 s.
    assert 20 <= pieces_read <= 25
    assert asyncio.get_running_loop().time() == pytest.approx(2)


@pytest.mark.parametrize(("unread_bytes", "seconds"), [(5, 1 + 2), (None, 2)])
async def test_silent_client_is_closed_in_bounded_time(unread_bytes: int | None, seconds: float) -> None:
    """1 s for a small rest that does not arrive, then 2 s of lingering."""
    assert (await respond(Incoming(), unread_bytes)).headers["connection"] == "close"
    assert asyncio.get_running_loop().time() == pytest.approx(seconds)


@pytest.mark.parametrize("unread_bytes", [10 * MIB, None])
async def test_body_is_read_first_where_that_is_allowed(unread_bytes: int | None) -> None:
    """A body within ``read_bytes_max`` is read to its end before the response, and the connection stays usable."""
    incoming = Incoming(*[body(bytes(MIB)) for _ in range(9)], body(bytes(MIB), more=False))
    assert "connection" not in (await respond(incoming, unread_bytes, read_bytes_max=11 * MIB)).headers
    assert incoming.left == []


async def test_reading_first_is_bounded() -> None:
    """A body known to be larger is not read first; one of unknown length only up to the limit, for a minute at most."""
    incoming = Incoming(*[body(bytes(MIB)) for _ in range(10)])
    assert (await respond(incoming, 10 * MIB, read_bytes_max=9 * MIB)).headers["connection"] == "close"
    assert asyncio.get_running_loop().time() == pytest.approx(2)
    assert (await respond(Incoming(), None, read_bytes_max=9 * MIB)).headers["connection"] == "close"
    assert asyncio.get_running_loop().time() == pytest.approx(2 + 60 + 2)
    incoming = Incoming(*[body(bytes(MIB)) for _ in range(3)], GONE)
    assert (await respond(incoming, None, read_bytes_max=2 * MIB)).headers["connection"] == "close"


async def test_disconnect_ends_the_lingering() -> None:
    """After a disconnect nothing is waited for."""
    assert (await respond(Incoming(body(b"ab"), GONE, GONE), 5)).headers["connection"] == "close"
    assert asyncio.get_running_loop().time() == 0


async def test_refusal_instead_of_100_continue_reads_nothing() -> None:
    """While the client waits for ``100 Continue``, the refusal closes the connection and nothing is read."""
    incoming = Incoming(body(b"abc", more=False))
    assert (await respond(incoming, 3, may_read=False)).headers["connection"] == "close"
    assert len(incoming.left) == 1
