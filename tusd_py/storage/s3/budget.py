"""The memory that all uploads of one process may use together while their bytes wait to be sent to S3."""

from __future__ import annotations

import asyncio
from collections import deque


class MemoryBudget:
    """Counts bytes in memory. Waiters get theirs in turn, so that a large one is not overtaken forever."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.used = 0
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def has_waiters(self) -> bool:
        """Whether a request waits for memory."""
        return bool(self._waiters)

    def try_acquire(self, count: int, *, reserve: int = 0) -> bool:
        """Take ``count`` bytes if they are free, ``reserve`` bytes are left after that, and nothing waits."""
        if not self.has_free(count, reserve=reserve):
            return False
        self.used += count
        return True

    def has_free(self, count: int, *, reserve: int = 0) -> bool:
        """Whether ``try_acquire`` would take them."""
        return not self._waiters and (not count or self._fits(count + reserve))

    async def acquire(self, count: int) -> None:
        """Take ``count`` bytes; wait for them. A caller that waits must hold none, or all might wait for each other."""
        if self.try_acquire(count):
            return
        waiter = asyncio.get_running_loop().create_future()
        entry = (count, waiter)
        self._waiters.append(entry)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release(count)
            else:
                self._waiters.remove(entry)
                self._wake()
            raise

    def release(self, count: int) -> None:
        """Give ``count`` bytes back."""
        self.used -= count
        self._wake()

    def _fits(self, count: int) -> bool:
        # More than there is at all gets everything.
        return self.used + count <= self.bytes_max or not self.used

    def _wake(self) -> None:
        while self._waiters and self._fits(self._waiters[0][0]):
            count, waiter = self._waiters.popleft()
            if not waiter.cancelled():
                self.used += count
                waiter.set_result(None)
