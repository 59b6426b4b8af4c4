"""The memory of many connections goes back to the system when they have closed."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.network.test_hostile import connect, eventually, resident_bytes
from tests.support.server import RunningServer

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

CONNECTIONS = 900
HEAD = (
    b"POST /files/ HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 100000\r\n"
    b"Content-Type: application/offset+octet-stream\r\nContent-Length: 100000\r\n\r\n"
)


def flood(server: RunningServer) -> int:
    """Begin slow uploads and close their connections; return how much memory the server had at most."""
    peak = 0
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(server)) for _ in range(CONNECTIONS)]
        for piece in (HEAD + bytes(1000), *[bytes(1000)] * 4):
            for connection in connections:
                connection.sendall(piece)
            time.sleep(0.5)
            peak = max(peak, resident_bytes(server))
    return peak


def test_memory_of_slow_uploads_returns(start: Callable[..., RunningServer]) -> None:
    """Of what many slow uploads took, a fifth or more is returned soon. Without a release nothing is."""
    server = start(SERVER__CONNECTIONS_PER_ADDRESS_MAX="0")
    before = resident_bytes(server)
    peak = flood(server)
    assert peak - before > CONNECTIONS * 10_000
    assert eventually(lambda: resident_bytes(server) - before < 0.8 * (peak - before), 120), (
        before,
        peak,
        resident_bytes(server),
    )
