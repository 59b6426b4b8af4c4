"""Limits the clients that watch access codes at once, by address, in the memory of one process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

#: Each open stream is a connection, and a read of the database every second.
WATCHERS_MAX = 500
WATCHERS_PER_ADDRESS_MAX = 10


class TooManyWatchers(Exception):
    """The client, or all clients together, watch as many codes as the server allows."""


class Watchers:
    """Counts open streams."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def ensure_allowed(self, address: str) -> None:
        """Raise ``TooManyWatchers`` if ``address`` may not open another stream."""
        if self._counts.total() >= WATCHERS_MAX or self._counts[address] >= WATCHERS_PER_ADDRESS_MAX:
            raise TooManyWatchers

    @contextmanager
    def counted(self, address: str) -> Iterator[None]:
        """Count one stream of ``address`` for the block."""
        self._counts[address] += 1
        try:
            yield
        finally:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]
