"""Accepts connections so that several processes with one listening socket get about the same number.

Without this, the process that wakes up first accepts all waiting connections and then wakes up first again: of 32
connections one of two processes got 28. SO_REUSEPORT would be fairer as well, but connections that the kernel assigns
to a process that hangs or has exited wait there; here every process can accept every connection.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sized
from functools import partial

from tusd_py.serving.connection_limit import ConnectionLimit
from tusd_py.serving.shared_numbers import Numbers

_log = logging.getLogger("tusd_py.serving")
#: A process that has more connections than another one leaves it this much time to accept: more than waking up takes.
_WAIT_SECONDS = 0.002
#: After the wait it accepts up to this many: if the other process hangs, they must not wait one by one.
_LATE_MAX = 4
#: How long to pause when file descriptors or memory run out; connections that end meanwhile free some.
_EXHAUSTED_SECONDS = 0.2
#: Errors of accept(2) that concern a connection that ended before it was accepted.
_GONE = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ECONNRESET})
NO_PROCESS = -1


class ConnectionCounts:
    """The number of connections of each process, in shared memory; ``NO_PROCESS`` in slots without one.

    A number is written only by the process of the slot, and by the parent after that process has exited. Reading a
    stale number costs two milliseconds.
    """

    def __init__(self, numbers: Numbers, slot: int) -> None:
        self._numbers = numbers
        self._slot = slot

    def has_more_than_another(self, count: int) -> bool:
        """Store this process's ``count``; return whether another process has fewer connections."""
        self._numbers[self._slot] = count
        return any(NO_PROCESS < number < count for number in self._numbers)


class Acceptor:
    """Accepts connections from one listening socket, and lets processes with fewer connections go first."""

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        counts: ConnectionCounts | None,
        connections: Sized,
        limit: ConnectionLimit | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._make_protocol = make_protocol
        self._tls = tls
        self._counts = counts
        self._connections = connections
        self._handshaking: set[asyncio.Task[None]] = set()
        # The protocol counts a connection from its end of the handshake on; until then it counts here.
        self._limit = limit
        self._handshakes: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._loop.add_reader(listener.fileno(), self._on_readable)

    @property
    def is_connecting(self) -> bool:
        """Whether an accepted connection is not passed on yet."""
        return bool(self._handshaking)

    def stop_accepting(self) -> None:
        """Accept no more; connections that were accepted are passed on."""
        self._loop.remove_reader(self._listener.fileno())
        if self._timer is not None:
            self._timer.cancel()

    def close(self) -> None:
        """Stop accepting, and cancel TLS handshakes that are not complete."""
        self.stop_accepting()
        for task in self._handshaking:
            task.cancel()

    async def wait_closed(self) -> None:
        """Return at once: uvicorn waits for the connections itself."""

    def _on_readable(self) -> None:
        count = len(self._connections) + len(self._handshaking)
        if self._counts is not None and self._counts.has_more_than_another(count):
            self._pause(_WAIT_SECONDS)
        else:
            self._accept()

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._timer = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._timer = None
        self._loop.add_reader(self._listener.fileno(), self._on_readable)
        # No other process has accepted these connections during the pause; they do not wait a second time.
        for _ in range(_LATE_MAX):
            if not self._accept():
                return

    def _accept(self) -> bool:
        """Accept one connection; return whether there was one."""
        try:
            connection, peer = self._listener.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno not in _GONE:
                _log.error("could not accept a connection, retrying", extra={"reason": error.strerror})
                self._pause(_EXHAUSTED_SECONDS)
            return False
        key = "" if self._limit is None else self._limit.key(peer)
        if self._limit is not None and not self._limit.allows(key, self._handshakes[key] if key else 0):
            connection.close()
            return True
        connection.setblocking(False)
        task = self._loop.create_task(self._handshake(connection))
        self._handshaking.add(task)
        self._handshakes[key] += 1
        task.add_done_callback(partial(self._on_handshaken, key))
        return True

    def _on_handshaken(self, key: str, task: asyncio.Task[None]) -> None:
        self._handshaking.discard(task)
        self._handshakes[key] -= 1
        if not self._handshakes[key]:
            del self._handshakes[key]

    async def _handshake(self, connection: socket.socket) -> None:
        try:
            if connection.family != socket.AF_UNIX:
                # Without this, the second part of a response waits until the client has acknowledged the first. asyncio
                # sets it only on sockets that were created with an explicit protocol number.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(self._make_protocol, connection, ssl=self._tls)
        except OSError as error:
            # The client closed the connection or does not speak TLS.
            _log.debug("connection failed before its first request", extra={"reason": str(error)})
            connection.close()
