"""Moves bytes from a file to a socket inside the kernel: sendfile(2). Independent of HTTP and of the event loop."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress

#: A client that takes nothing for this long is left to the event loop, where waiting costs no thread.
_WAIT_MILLISECONDS = 1
#: A burst ends after this time: others need the thread.
_BURST_SECONDS = 0.02
#: One call reads the file for as long as the client keeps up: on a slow disk this much takes a burst.
_CALL_BYTES = 1024 * 1024
#: More bursts at once would only wait for each other; further contents are sent in pieces.
WRITERS_MAX = 8
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


class SendSlots:
    """Counts the connections of one process that send from a file at once."""

    def __init__(self) -> None:
        self._in_use = 0
        #: Whether sendfile(2) works. Turned off by the first file or socket that it does not accept; not tried again.
        self.can_send = True

    def acquire(self) -> bool:
        """Take a slot. False if there is none."""
        if not self.can_send or self._in_use >= WRITERS_MAX:
            return False
        self._in_use += 1
        return True

    def release(self) -> None:
        self._in_use -= 1


class SendfileWriter:
    """The ``SocketWriter`` of one burst. Calls ``on_closed`` with how many bytes were sent.

    ``sendfile`` is called in a thread, everything else on the event loop before and after.
    """

    def __init__(self, slots: SendSlots, descriptor: int, on_closed: Callable[[int], None]) -> None:
        self._slots = slots
        # A duplicate of its own: the connection's number may be reused as soon as the connection is closed.
        self._socket = descriptor
        self._on_closed = on_closed
        self._deadline = 0.0
        self._is_over = False
        #: See ``SocketWriter``.
        self.bytes_sent = 0
        _set_cork(descriptor, True)

    def sendfile(self, descriptor: int, offset: int, count: int) -> int:
        """See ``SocketWriter.sendfile``."""
        now = time.monotonic()
        self._deadline = self._deadline or now + _BURST_SECONDS
        while now < self._deadline and not self._is_over:
            try:
                sent = os.sendfile(self._socket, descriptor, offset, min(count, _CALL_BYTES))
            except BlockingIOError:
                if not self._wait_writable():
                    break
                now = time.monotonic()
                continue
            except OSError as error:
                # A broken connection fails again on the event loop, and a broken file when it is read.
                if error.errno in _UNSUPPORTED:
                    self._slots.can_send = False
                break
            self.bytes_sent += sent
            return sent
        self._is_over = True
        return 0

    def close(self) -> None:
        """Give the socket back."""
        _set_cork(self._socket, False)
        os.close(self._socket)
        self._slots.release()
        self._on_closed(self.bytes_sent)

    def _wait_writable(self) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        return bool(poll.poll(_WAIT_MILLISECONDS))


def _set_cork(descriptor: int, is_on: bool) -> None:
    """Let the kernel send full segments only, or all that waits.

    Without it, sendfile(2) ends a segment with each 64 KiB that it takes from the file. On a loopback interface that
    is a second segment of 53 bytes, and each wakes up the client: twice the CPU time of the server.
    """
    # A unix socket has no segments.
    with suppress(OSError):
        connection = socket.socket(fileno=descriptor)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, is_on)
        finally:
            connection.detach()
