"""Bytes from a file to a socket within the kernel: sendfile(2). Nothing here knows HTTP or event loops."""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Callable

#: A client that takes nothing for so long waits for the event loop, where waiting costs no thread.
_WAIT_MILLISECONDS = 1
#: Others want the thread.
_MOMENT_SECONDS = 0.02
#: One call reads the file for as long as the client keeps up: on a slow disk, so much is a moment.
_CALL_BYTES = 1024 * 1024
#: More at once would only wait for each other; who gets none is sent pieces.
OUTLETS_MAX = 8
_CANNOT = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


class Outlets:
    """How many of one process's connections are lent, each to one file at a time."""

    def __init__(self) -> None:
        self._lent = 0
        #: Set for good by the first file or socket that sendfile(2) does not take.
        self.is_refused = False

    def lend(self) -> bool:
        """Whether one more may be lent; then it is."""
        if self.is_refused or self._lent >= OUTLETS_MAX:
            return False
        self._lent += 1
        return True

    def give_back(self) -> None:
        self._lent -= 1


class Outlet:
    """A socket, for a moment, to give away bytes of files by. ``move`` is called in a thread, all else around it."""

    def __init__(self, outlets: Outlets, descriptor: int, on_closed: Callable[[int], None]) -> None:
        self._outlets = outlets
        # One of its own: the number of the connection's is another's as soon as the connection is closed.
        self._socket = descriptor
        self._on_closed = on_closed
        self._deadline = 0.0
        self._is_over = False
        #: Handed to the socket so far.
        self.given_bytes = 0

    def move(self, descriptor: int, offset: int, count: int) -> int:
        """Send some bytes of the file from ``offset`` on; how many, or 0 when the moment is over, whatever ended it."""
        now = time.monotonic()
        self._deadline = self._deadline or now + _MOMENT_SECONDS
        while now < self._deadline and not self._is_over:
            try:
                moved = os.sendfile(self._socket, descriptor, offset, min(count, _CALL_BYTES))
            except BlockingIOError:
                if not self._waited():
                    break
                now = time.monotonic()
                continue
            except OSError as error:
                # A broken connection shows itself again to the event loop, and a broken file to whoever reads it.
                self._outlets.is_refused |= error.errno in _CANNOT
                break
            self.given_bytes += moved
            return moved
        self._is_over = True
        return 0

    def close(self) -> None:
        """Give the socket back and say how much it was given."""
        os.close(self._socket)
        self._outlets.give_back()
        self._on_closed(self.given_bytes)

    def _waited(self) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        return bool(poll.poll(_WAIT_MILLISECONDS))
