"""What this server can do for an application beyond ASGI, under one name in ``scope["extensions"]``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from tusd_py.serving.http.cycle import Cycle
from tusd_py.serving.http.sendfile import Outlet, Outlets
from tusd_py.serving.http.splice import Loan, Pipes

#: ``"trailers"``, a callable that gives the declared trailers once the body has ended; ``"informational"``, which is
#: ``Cycle.inform``; ``"lend"``, ``"take_whole"`` and ``"lend_out"``, which are methods of ``Beyond``.
EXTENSION = "tusd_py"


class Connection(Protocol):
    """What is asked of a connection."""

    answering: Cycle | None
    transport: asyncio.Transport

    @property
    def pipes(self) -> Pipes | None: ...

    @property
    def outlets(self) -> Outlets | None: ...

    def go_on_behind(self, rest: int) -> None: ...


class Beyond:
    """Made once for a connection: it speaks of whichever request is being answered."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.extensions = {
            EXTENSION: {
                "trailers": self._trailers,
                "informational": self._inform,
                "lend": self.lend,
                "take_whole": self.take_whole,
                "lend_out": self.lend_out,
            },
        }

    def close(self) -> None:
        """The connection is over. These hold it, and it holds them: it need not wait for the collector."""
        self.extensions[EXTENSION].clear()

    def _trailers(self) -> list[tuple[bytes, bytes]]:
        cycle = self._connection.answering
        return [] if cycle is None else cycle.trailers.copy()

    def _inform(self, status: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> bool:
        cycle = self._connection.answering
        return cycle is not None and cycle.inform(status, headers)

    def take_whole(self, receive: Callable[[], Awaitable[Any]]) -> list[bytes] | None:
        """The body, if it has come to its end and nobody has received of it: to who holds our own ``receive``.

        A small body comes with its head, and whoever takes it so need not wait. ``None`` takes nothing.
        """
        cycle = self._connection.answering
        if cycle is None or receive != cycle.receive or not cycle.is_whole or cycle.waiting_for_100_continue:
            return None
        if cycle.buffered_bytes != cycle.received_bytes:
            return None
        cycle.more_body = False
        return cycle.take_out()

    def lend(self, receive: Callable[[], Awaitable[Any]]) -> Loan | None:
        """The socket, to move the body by (see ``Loan``), to who holds our own ``receive``; ``None`` where it is not
        to be had. Until it is closed, nothing of the body is received.

        Whoever wraps ``receive`` wants to see the bytes.
        """
        connection = self._connection
        cycle, pipes, transport = connection.answering, connection.pipes, connection.transport
        if cycle is None or pipes is None or receive != cycle.receive or transport.is_closing():
            return None
        rest = cycle.bytes_to_come()
        if not rest or transport.get_extra_info("sslcontext") is not None or (ends := pipes.lend()) is None:
            return None
        try:
            descriptor = os.dup(transport.get_extra_info("socket").fileno())
        except OSError:
            pipes.give_back(ends, True)
            return None

        def closed(rest: int) -> None:
            cycle.is_lent = False
            cycle.received_bytes += loan.taken_bytes
            connection.go_on_behind(rest)

        loan = Loan(pipes, ends, descriptor, rest, closed)
        cycle.is_lent = True
        cycle.flow.pause_reading()
        loan.pieces = cycle.take_out()
        return loan

    async def lend_out(self, send: Callable[[Any], Awaitable[None]]) -> Outlet | None:
        """The socket, to send more of the answer's body by (see ``Outlet``), to who holds our own ``send``.

        Waits until the client has taken what was sent before. ``None`` where it is not to be had, or not now.
        """
        connection = self._connection
        cycle, outlets, transport = connection.answering, connection.outlets, connection.transport
        if cycle is None or outlets is None or send != cycle.send or transport.is_closing():
            return None
        if not cycle.bytes_to_give() or transport.get_extra_info("sslcontext") is not None:
            return None
        if not cycle.is_unbuffered:
            # "Drained" means empty from here on: nothing may be sent around what is still to be sent.
            cycle.is_unbuffered = True
            transport.set_write_buffer_limits(0, 0)
        await cycle.flow.drain()
        if transport.is_closing() or transport.get_write_buffer_size() or not outlets.lend():
            return None
        try:
            descriptor = os.dup(transport.get_extra_info("socket").fileno())
        except OSError:
            outlets.give_back()
            return None

        def closed(given_bytes: int) -> None:
            cycle.expected_content_length -= given_bytes

        return Outlet(outlets, descriptor, closed)
