"""Answers that come before the body has: a small rest is read, before a large one the connection is closed, in time."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.loops import on_loop
from tests.unit.web.asgi import GONE, Incoming, Outgoing, body
from tusd_py.web import early_response

HEADERS = [(b"content-length", b"2")]


async def answered(incoming: Incoming, unread: int | None, may_read: bool = True) -> Outgoing:
    out = Outgoing()
    await asyncio.wait_for(early_response.send(out, incoming, 409, HEADERS, b"no", unread, may_read), 10)
    assert (out.status, out.body, out.is_over) == (409, b"no", True)
    return out


@on_loop
async def test_a_small_rest_is_read_and_the_connection_kept() -> None:
    """The client need not connect anew to go on from the right offset."""
    incoming = Incoming(body(b"abc"), body(b"de", more=False))
    assert "connection" not in (await answered(incoming, 5)).headers
    assert incoming.left == []


@on_loop
async def test_a_large_rest_closes_the_connection() -> None:
    """The answer goes out at once, a bounded amount is read, then it is over."""
    pieces = [body(bytes(256 * 1024)) for _ in range(40)]
    incoming = Incoming(*pieces)
    out = await answered(incoming, None)
    assert out.headers["connection"] == "close"
    assert len(incoming.left) >= 40 - 5 - early_response._LINGER_SECONDS / early_response._PIECE_SECONDS


@pytest.mark.parametrize("unread", [5, None])
@on_loop
async def test_a_client_that_sends_nothing_is_not_waited_for(
    unread: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded time, whether or not the rest was small."""
    monkeypatch.setattr(early_response, "_KEEP_SECONDS", 0.01)
    monkeypatch.setattr(early_response, "_LINGER_SECONDS", 0.01)
    assert (await answered(Incoming(), unread)).headers["connection"] == "close"


@on_loop
async def test_a_client_that_is_gone_is_not_waited_for() -> None:
    """It hung up after the first piece."""
    assert (await answered(Incoming(body(b"ab"), GONE, GONE), 5)).headers["connection"] == "close"


@on_loop
async def test_no_client_is_told_to_go_ahead_after_a_refusal() -> None:
    """It asked with ``Expect: 100-continue``: the refusal is the answer to that, and nothing is read."""
    incoming = Incoming(body(b"abc", more=False))
    assert (await answered(incoming, 3, may_read=False)).headers["connection"] == "close"
    assert len(incoming.left) == 1
