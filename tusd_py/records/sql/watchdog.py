"""Breaks connections whose server does not answer: a thread that shuts their sockets down."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol


class HasSocket(Protocol):
    """A connection with a socket."""

    def fileno(self) -> int: ...


class Watchdog:
    """Watches one connection at a time, from a thread that sleeps while nothing is late.

    A watch costs two assignments: the thread looks at the time by itself, a few times in the longest allowed wait.
    """

    def __init__(self) -> None:
        self._watched: tuple[HasSocket, float] | None = None  # and when it is late
        self._seconds = 1.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, connection: HasSocket, seconds: float) -> Iterator[None]:
        """Shut the socket of ``connection`` down if the block takes longer than ``seconds``, or soon after."""
        if self._thread is None:
            self._seconds = seconds / 8
            self._thread = threading.Thread(target=self._watch, name="records-watchdog", daemon=True)
            self._thread.start()
        self._watched = connection, time.monotonic() + seconds
        try:
            yield
        finally:
            self._watched = None

    def end(self) -> None:
        """End the thread."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(self._seconds):
            watched = self._watched
            if watched is not None and time.monotonic() > watched[1]:
                _break(watched[0])


def _break(connection: HasSocket) -> None:
    # The descriptor stays open, so that it cannot become that of another file while libpq uses it.
    with suppress(OSError, ValueError), socket.socket(fileno=os.dup(connection.fileno())) as its_socket:
        its_socket.shutdown(socket.SHUT_RDWR)
