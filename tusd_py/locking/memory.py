"""The locker of a single process: a holder and a queue for each upload, forgotten when the upload is free."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from tusd_py.contracts.locker import IsGone, LockTimeout

Locks = dict[str, "MemoryLock"]
Waiter = asyncio.Future["MemoryLock"]


class MemoryLock:
    """A lock of a ``MemoryLocker``. Each holder passes the queue of waiters to the next."""

    was_abandoned = False
    is_lost = False

    __slots__ = ("_callbacks", "_is_release_requested", "_locks", "upload_id", "waiters")

    def __init__(self, locks: Locks, upload_id: str, waiters: deque[Waiter]) -> None:
        self._locks: Locks | None = locks
        self._callbacks: list[Callable[[], None]] = []
        self._is_release_requested = bool(waiters)
        self.upload_id = upload_id
        self.waiters = waiters

    def on_release_requested(self, callback: Callable[[], None]) -> None:
        if self._is_release_requested:
            callback()
        else:
            self._callbacks.append(callback)

    def request_release(self) -> None:
        """Notify the holder that another caller waits for the lock."""
        self._is_release_requested = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    async def release(self) -> None:
        self.release_to_next()

    def release_now(self) -> None:
        """See ``DirectLock``."""
        self.release_to_next()

    def release_to_next(self) -> None:
        """Release without waiting; the first waiter that has not given up has the lock when this returns."""
        locks, self._locks = self._locks, None
        if locks is None:
            return
        self._callbacks.clear()
        waiters = self.waiters
        while waiters:
            waiter = waiters.popleft()
            if not waiter.done():
                locks[self.upload_id] = successor = MemoryLock(locks, self.upload_id, waiters)
                waiter.set_result(successor)
                return
        locks.pop(self.upload_id, None)


class MemoryLocker:
    """Locks for the tasks of one event loop."""

    def __init__(self) -> None:
        self._locks: Locks = {}

    def __len__(self) -> int:
        """How many uploads are locked."""
        return len(self._locks)

    async def acquire(self, upload_id: str, timeout_seconds: float, is_gone: IsGone | None = None) -> MemoryLock:
        holder = self._locks.get(upload_id)
        if holder is None:
            return self._lock(upload_id)
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        holder.waiters.append(waiter)
        holder.request_release()
        timer = loop.call_later(timeout_seconds, _time_out, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                waiter.result().release_to_next()  # the lock and the cancellation came in the same turn
            raise
        finally:
            timer.cancel()
            if waiter in holder.waiters:
                holder.waiters.remove(waiter)

    async def try_acquire(self, upload_id: str) -> MemoryLock | None:
        return self.try_acquire_now(upload_id)

    def try_acquire_now(self, upload_id: str) -> MemoryLock | None:
        """See ``DirectLocker``."""
        return None if upload_id in self._locks else self._lock(upload_id)

    async def probe(self) -> None:
        pass

    async def close(self) -> None:
        for lock in self._locks.values():
            for waiter in lock.waiters:
                _time_out(waiter)
        self._locks.clear()

    def _lock(self, upload_id: str) -> MemoryLock:
        self._locks[upload_id] = lock = MemoryLock(self._locks, upload_id, deque())
        return lock


def _time_out(waiter: Waiter) -> None:
    if not waiter.done():
        waiter.set_exception(LockTimeout("this upload is busy"))
