"""One deadline for every response: a connection of which no byte leaves for too long is aborted.

It measures the bytes that the other end has acknowledged, not pieces that fit into a buffer: the kernel reports a
socket as writable only when a third of its buffer is free, which takes a slow client minutes. So a client that reads
slowly but steadily is served for as long as it takes, and one that reads nothing is not.

One task of the process looks at all connections now and then. A request starts no timer.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import logging
import socket
import struct
import termios
from collections.abc import Collection
from contextlib import suppress
from typing import Any

_log = logging.getLogger("tusd_py.serving")
#: The connections are looked at this many times within the deadline, but not less often than every few seconds.
_LOOKS = 8
_INTERVAL_SECONDS_MAX = 5.0
#: Looking at one connection takes about 2 microseconds; after this many, others get their turn.
_CONNECTIONS_AT_ONCE = 256
# ``tcpi_bytes_acked`` in Linux' ``struct tcp_info`` (since 4.1), and the size of the structure up to its end.
_TCP_INFO = getattr(socket, "TCP_INFO", None)
_BYTES_ACKED = struct.Struct("@120xQ")
_LINGER_NOT = struct.pack("ii", 1, 0)


class SendDeadline:
    """Aborts those of ``connections`` (uvicorn's set) that take nothing for ``seconds``."""

    def __init__(self, connections: Collection[Any], seconds: float) -> None:
        self._connections = connections
        self._seconds = seconds
        # When each connection with unsent bytes last took some: the time, and its counters then.
        self._progress: dict[Any, tuple[float, tuple[int, ...]]] = {}

    async def run(self) -> None:
        """Look at the connections until cancelled."""
        while True:
            await asyncio.sleep(min(self._seconds / _LOOKS, _INTERVAL_SECONDS_MAX))
            await self.look(self._seconds)

    async def look(self, seconds: float) -> None:
        """Abort the connections of which no byte has left for ``seconds``, as far as earlier looks know."""
        now = asyncio.get_running_loop().time()
        progress: dict[Any, tuple[float, tuple[int, ...]]] = {}
        for number, connection in enumerate(list(self._connections), 1):
            if number % _CONNECTIONS_AT_ONCE == 0:
                await asyncio.sleep(0)
            transport = connection.transport
            counters = _counters(transport)
            if counters is None:
                continue
            since, before = self._progress.get(connection, (now, ()))
            if counters != before:
                since = now
            elif now - since >= seconds:
                _log.info("client does not read, connection aborted", extra={"seconds": round(now - since, 1)})
                _abort(transport)
                continue
            progress[connection] = since, counters
        self._progress = progress


def _abort(transport: asyncio.Transport) -> None:
    """Close the connection with a reset: otherwise the kernel keeps what the other end does not take."""
    endpoint = transport.get_extra_info("socket")
    if endpoint is not None:
        with suppress(OSError):
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()


def _counters(transport: asyncio.Transport) -> tuple[int, ...] | None:
    """Return numbers that change when bytes leave; ``None`` if none wait to be sent.

    Bytes wait in the transport and in the kernel. TLS has a further buffer between them, which is not visible; it holds
    bytes only while the kernel does.
    """
    buffered = transport.get_write_buffer_size()
    endpoint = transport.get_extra_info("socket")
    if endpoint is None:
        return (buffered,) if buffered else None
    try:
        unsent = _unsent_bytes(endpoint)
        return (buffered, unsent, _acknowledged_bytes(endpoint)) if buffered or unsent else None
    except (OSError, ValueError):
        # The socket was closed meanwhile.
        return (buffered,) if buffered else None


def _unsent_bytes(endpoint: Any) -> int:
    """Return how many bytes the kernel holds for the other end."""
    count = array.array("i", [0])
    fcntl.ioctl(endpoint.fileno(), termios.TIOCOUTQ, count)
    return count[0]


def _acknowledged_bytes(endpoint: Any) -> int:
    """Return how many bytes the other end has received; 0 where the system does not say."""
    if _TCP_INFO is None or endpoint.family not in (socket.AF_INET, socket.AF_INET6):
        return 0
    information = endpoint.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES_ACKED.size)
    if len(information) < _BYTES_ACKED.size:
        return 0
    acknowledged: int = _BYTES_ACKED.unpack(information)[0]
    return acknowledged
