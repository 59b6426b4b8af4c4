"""Connections taken in fairly by several processes that listen on one socket.

Left to themselves, the process that looks up first takes all that wait, and then looks up first again: of 32
connections one of two processes got 28. A socket for each process would be fairer too, but who is hashed to one that
hangs or has died waits there; here anybody takes in whom nobody else does.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, MutableSequence, Sized

_log = logging.getLogger("tusd_py.serving")
#: Who has more connections than another leaves that one so much time for the next: more than it needs to wake up.
_WAIT_SECONDS = 0.002
#: Then it takes in so many: should the other hang, the rest must not wait one by one.
_LATE_MAX = 4
#: Without descriptors or memory nobody can be taken in; those that end meanwhile make room.
_EXHAUSTED_SECONDS = 0.2
#: What a connection may say of itself when it ended before it was taken in.
_GONE = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ECONNRESET})
NOBODY = -1


class Shares:
    """How many connections each process has, in memory that all of them see: a number each, ``NOBODY`` where none is.

    Only its own process writes a number, and its parent once that has died. A number that is read too late costs its
    reader two milliseconds.
    """

    def __init__(self, numbers: MutableSequence[int], own: int) -> None:
        self._numbers = numbers
        self._own = own

    def has_more_than_another(self, count: int) -> bool:
        """Note that this process has ``count``, and tell whether any has less."""
        self._numbers[self._own] = count
        return any(NOBODY < number < count for number in self._numbers)


class Acceptor:
    """Takes in connections from one listening socket, one at a time, for as long as it is this process's turn."""

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        shares: Shares,
        connections: Sized,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._make_protocol = make_protocol
        self._tls = tls
        self._shares = shares
        self._connections = connections
        self._welcoming: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._loop.add_reader(listener.fileno(), self._knocked)

    def close(self) -> None:
        """Take in no more. Who has not yet agreed on its encryption is let go."""
        self._loop.remove_reader(self._listener.fileno())
        if self._timer is not None:
            self._timer.cancel()
        for task in self._welcoming:
            task.cancel()

    async def wait_closed(self) -> None:
        """Nothing is left to wait for: connections are the server's."""

    def _knocked(self) -> None:
        if self._shares.has_more_than_another(len(self._connections) + len(self._welcoming)):
            self._pause(_WAIT_SECONDS)
        else:
            self._accept()

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._timer = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        self._loop.add_reader(self._listener.fileno(), self._knocked)
        # Whom nobody else has taken in meanwhile does not wait twice.
        for _ in range(_LATE_MAX):
            if not self._accept():
                return

    def _accept(self) -> bool:
        """Take in one; False when there is none, or none can be."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno not in _GONE:
                _log.error("no connection can be taken in", extra={"reason": error.strerror})
                self._pause(_EXHAUSTED_SECONDS)
            return False
        connection.setblocking(False)
        task = self._loop.create_task(self._welcome(connection))
        self._welcoming.add(task)
        task.add_done_callback(self._welcoming.discard)
        return True

    async def _welcome(self, connection: socket.socket) -> None:
        try:
            if connection.family != socket.AF_UNIX:
                # An answer in two pieces must not wait for the first to be acknowledged. asyncio sees to it only where
                # the socket names its protocol.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(self._make_protocol, connection, ssl=self._tls)
        except OSError as error:
            # It broke, or spoke no TLS: that is between the client and itself.
            _log.debug("connection not taken in", extra={"reason": str(error)})
            connection.close()
