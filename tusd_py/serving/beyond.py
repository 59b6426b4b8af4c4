"""What this server can do for an application beyond ASGI, under one name in ``scope["extensions"]``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from tusd_py.serving.cycle import Cycle
from tusd_py.serving.splicing import Loan, Pipes

#: ``"trailers"``, a callable that gives the declared trailers once the body has ended; ``"informational"``, which is
#: ``Cycle.inform``; and ``"lend"``, which is ``Beyond.lend``.
EXTENSION = "tusd_py"


class Connection(Protocol):
    """What is asked of a connection."""

    answering: Cycle | None
    transport: asyncio.Transport

    @property
    def pipes(self) -> Pipes | None: ...

    def go_on_behind(self, rest: int) -> None: ...


class Beyond:
    """Made once for a connection: it speaks of whichever request is being answered."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.extensions = {
            EXTENSION: {"trailers": self._trailers, "informational": self._inform, "lend": self.lend},
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
