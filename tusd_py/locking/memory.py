"""The locker of a single process: a holder and a queue an upload, gone when nobody holds or waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from tusd_py.contracts.locker import LockTimeout

Holds = dict[str, "MemoryLock"]
Turn = asyncio.Future["MemoryLock"]


class MemoryLock:
    """A hold in a ``MemoryLocker``. The queue of those who wait goes from each holder to the next."""

    __slots__ = ("_holds", "_is_wanted", "_tells", "upload_id", "waiting")

    def __init__(self, holds: Holds, upload_id: str, waiting: deque[Turn]) -> None:
        self._holds: Holds | None = holds
        self._tells: list[Callable[[], None]] = []
        self._is_wanted = bool(waiting)
        self.upload_id = upload_id
        self.waiting = waiting

    def on_release_requested(self, tell: Callable[[], None]) -> None:
        if self._is_wanted:
            tell()
        else:
            self._tells.append(tell)

    def want(self) -> None:
        """Tell the holder that somebody asks for this hold."""
        self._is_wanted = True
        tells, self._tells = self._tells, []
        for tell in tells:
            tell()

    async def release(self) -> None:
        self.pass_on()

    def pass_on(self) -> None:
        """Let go at once; the first who still waits has the hold when this returns."""
        holds, self._holds = self._holds, None
        if holds is None:
            return
        self._tells.clear()
        waiting = self.waiting
        while waiting:
            waiter = waiting.popleft()
            if not waiter.done():
                holds[self.upload_id] = successor = MemoryLock(holds, self.upload_id, waiting)
                waiter.set_result(successor)
                return
        holds.pop(self.upload_id, None)


class MemoryLocker:
    """Holds for the coroutines of one event loop."""

    def __init__(self) -> None:
        self._holds: Holds = {}

    def __len__(self) -> int:
        """How many uploads are held."""
        return len(self._holds)

    async def acquire(self, upload_id: str, timeout_seconds: float) -> MemoryLock:
        holder = self._holds.get(upload_id)
        if holder is None:
            return self._take(upload_id)
        loop = asyncio.get_running_loop()
        turn: Turn = loop.create_future()
        holder.waiting.append(turn)
        holder.want()
        timer = loop.call_later(timeout_seconds, _time_out, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                turn.result().pass_on()  # the turn came in the same instant as the cancellation
            raise
        finally:
            timer.cancel()
            if turn in holder.waiting:
                holder.waiting.remove(turn)

    async def try_acquire(self, upload_id: str) -> MemoryLock | None:
        return None if upload_id in self._holds else self._take(upload_id)

    async def close(self) -> None:
        for lock in self._holds.values():
            for turn in lock.waiting:
                _time_out(turn)
        self._holds.clear()

    def _take(self, upload_id: str) -> MemoryLock:
        self._holds[upload_id] = lock = MemoryLock(self._holds, upload_id, deque())
        return lock


def _time_out(turn: Turn) -> None:
    if not turn.done():
        turn.set_exception(LockTimeout("this upload is busy"))
