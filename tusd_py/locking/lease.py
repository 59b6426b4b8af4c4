"""The locker of processes on several machines: leases in a medium that they share, and messages between them.

A lease can end while its holder runs: the medium may forget it, or the holder may be cut off. So a lease only keeps
requests from disturbing each other, and the record decides: each save compares the record's token, the fencing token.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, TypeVar

from tusd_py.contracts.leases import Held, Leases, Taken
from tusd_py.contracts.locker import IsGone, LocksUnavailable, LockTimeout
from tusd_py.locking.memory import MemoryLock, MemoryLocker

log = logging.getLogger(__name__)

#: A caller that waits for another process tries and asks again after this: messages may be lost, holders may die.
POLL_SECONDS = 0.1
#: How long this process leaves an upload to another one that waits for it before its own next waiter takes it.
YIELD_SECONDS = 0.02
#: A holder that could not renew stops this part of the lease's time before its end.
_MARGIN = 0.2
#: An answer to a renewal is waited for this part of the lease's time, so that there is time for a few more attempts.
_ATTEMPT = 1 / 6
#: The pause after an attempt that failed.
_RETRY = 1 / 30
#: So many leases are renewed by one call: if its answer is late, those that were answered are renewed.
_RENEWED_AT_ONCE = 500
#: More leases than this are left to end by themselves while the medium cannot be reached.
_UNRELEASED_MAX = 1000

T = TypeVar("T")


class LeaseLock:
    """A lock of a ``LeaseLocker``: the lock within this process, and the lease among all of them."""

    __slots__ = ("_locker", "has_ended", "is_lost", "key", "local", "owner", "valid_until", "waiters", "was_abandoned")

    def __init__(
        self, locker: LeaseLocker, key: str, owner: str, local: MemoryLock, valid_until: float, *, was_abandoned: bool
    ) -> None:
        self._locker = locker
        self.key = key
        self.owner = owner
        self.local = local
        self.valid_until = valid_until
        self.was_abandoned = was_abandoned
        self.has_ended = False  # before its release
        self.is_lost = False
        self.waiters: dict[str, None] = {}  # addresses of processes that wait for it, in order

    def on_release_requested(self, callback: Callable[[], None]) -> None:
        self.local.on_release_requested(callback)

    async def release(self) -> None:
        await self._locker.release(self)

    def end(self, *, is_taken: bool) -> None:
        """Tell the holder to stop: another process has taken the lease, or may have by now."""
        self.has_ended = True
        self.is_lost = not is_taken
        self.local.request_release()


class LeaseLocker:
    """Locks among all processes that share ``leases``, on one event loop. A lease lasts ``lease_seconds``."""

    def __init__(self, leases: Leases, *, lease_seconds: float) -> None:
        self._leases = leases
        self._lease_seconds = lease_seconds
        self._local = MemoryLocker()
        self._held: dict[str, LeaseLock] = {}
        self._waiters: dict[str, asyncio.Future[None]] = {}  # callers of this process that wait for another one
        self._tasks: set[asyncio.Task[Any]] = set()  # of calls that a cancelled caller does not wait for
        self._unreleased: dict[str, tuple[str, float]] = {}  # key and end by owner, of leases to release later
        self._renewing: asyncio.Task[None] | None = None
        self._owners = (f"{leases.address} {secrets.token_hex(4)}{number:x}" for number in count())
        self._is_open = False

    async def acquire(self, upload_id: str, timeout_seconds: float, is_gone: IsGone | None = None) -> LeaseLock:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        local = await self._local.acquire(upload_id, timeout_seconds)
        owner = next(self._owners)
        try:
            while True:
                began = loop.time()
                outcome = await self._take(upload_id, owner)
                if isinstance(outcome, Taken):
                    return self._lock(upload_id, owner, local, began, outcome)
                if is_gone is not None and is_gone():
                    raise LockTimeout("the client has left while its request waited for another server")
                await self._wait(upload_id, outcome, deadline)
        except BaseException:
            local.release_to_next()
            raise

    async def try_acquire(self, upload_id: str) -> LeaseLock | None:
        local = await self._local.try_acquire(upload_id)
        if local is None:
            return None
        owner = next(self._owners)
        began = asyncio.get_running_loop().time()
        try:
            outcome = await self._take(upload_id, owner)
        except BaseException:
            local.release_to_next()
            raise
        if isinstance(outcome, Taken):
            return self._lock(upload_id, owner, local, began, outcome)
        local.release_to_next()
        return None

    async def probe(self) -> None:
        lock = await self.try_acquire("")  # the id of no upload; if it is locked, another process probes just now
        if lock is not None:
            await lock.release()

    async def release(self, lock: LeaseLock) -> None:
        """Release ``lock`` and wake its waiters; nothing if it was released before."""
        if self._held.get(lock.key) is not lock:
            return
        del self._held[lock.key]
        # A task, so that a cancelled caller does not leave the lease behind.
        await asyncio.shield(self._in_background(self._release(lock)))

    async def close(self) -> None:
        await self._local.close()
        for waiter in self._waiters.values():
            _wake(waiter)
        held = list(self._held.values())
        self._held.clear()
        await asyncio.gather(*(self._end_lease(lock.key, lock.owner) for lock in held if not lock.has_ended))
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._leases.close()

    def _lock(self, key: str, owner: str, local: MemoryLock, began: float, taken: Taken) -> LeaseLock:
        valid_until = began + self._lease_seconds
        self._held[key] = lock = LeaseLock(self, key, owner, local, valid_until, was_abandoned=taken.was_abandoned)
        self._start_renewing()
        return lock

    def _start_renewing(self) -> None:
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._keep_renewing())

    def _release_later(self, key: str, owner: str) -> None:
        if len(self._unreleased) < _UNRELEASED_MAX:
            self._unreleased[owner] = key, asyncio.get_running_loop().time() + self._lease_seconds
            self._in_background(self._release_unreleased())
            self._start_renewing()

    async def _take(self, key: str, owner: str) -> Taken | Held:
        """Try to take the lease. A cancelled caller has none, also if the answer is still under way."""
        if not self._is_open:
            self._leases.open(self._on_message)
            self._is_open = True
        taking = self._in_background(self._leases.take(key, owner, self._lease_seconds))
        try:
            return await asyncio.shield(taking)
        except LocksUnavailable:
            self._release_later(key, owner)  # it may have been taken although the answer was lost
            raise
        except asyncio.CancelledError:
            taking.add_done_callback(lambda _: self._release_later(key, owner))
            raise

    async def _wait(self, key: str, held: Held, deadline: float) -> None:
        """Ask the holder to release the lease, and wait until it says so, or for a moment. Raises ``LockTimeout``."""
        loop = asyncio.get_running_loop()
        remaining = deadline - loop.time()
        if remaining <= 0:
            raise LockTimeout("this upload is busy on another server")
        self._waiters[key] = waiter = loop.create_future()
        address = held.owner.partition(" ")[0]
        if address:
            self._leases.send(address, f"want {self._leases.address} {key}")
        timer = loop.call_later(min(remaining, POLL_SECONDS), _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            del self._waiters[key]

    def _on_message(self, message: str) -> None:
        verb, _, rest = message.partition(" ")
        if verb == "free":
            _wake(self._waiters.get(rest))
        elif verb == "want":
            sender, _, key = rest.partition(" ")
            lock = self._held.get(key)
            if lock is None:
                self._leases.send(sender, f"free {key}")  # released meanwhile
            else:
                lock.waiters[sender] = None
                lock.local.request_release()

    async def _release(self, lock: LeaseLock) -> None:
        if not lock.has_ended:
            await self._end_lease(lock.key, lock.owner)
        for address in lock.waiters:
            self._leases.send(address, f"free {lock.key}")
        if lock.waiters:
            # Otherwise the waiters of this process would be faster each time, and those of others would starve.
            await asyncio.sleep(YIELD_SECONDS)
        lock.local.release_to_next()

    async def _end_lease(self, key: str, owner: str) -> None:
        try:
            await self._leases.release(key, owner)
        except LocksUnavailable as error:
            log.warning("could not release a lock, retrying", extra={"reason": str(error)})
            self._release_later(key, owner)

    async def _release_unreleased(self) -> None:
        """Release leases whose release has failed, until they have ended by themselves."""
        now = asyncio.get_running_loop().time()
        for owner, (key, until) in list(self._unreleased.items()):
            if until > now:
                try:
                    await self._leases.release(key, owner)
                except LocksUnavailable:
                    return
            self._unreleased.pop(owner, None)

    async def _keep_renewing(self) -> None:
        """Renew all leases every third of their time, as long as there are any; sooner after a failure."""
        loop = asyncio.get_running_loop()
        delay = interval = self._lease_seconds / 3
        pause = self._lease_seconds * _RETRY
        while self._held or self._unreleased:
            await asyncio.sleep(delay)
            began = loop.time()
            is_renewed = await self._renew()
            if self._unreleased:
                await self._release_unreleased()
            # A round over many leases may take long.
            delay = max(pause, began + interval - loop.time()) if is_renewed else pause

    async def _renew(self) -> bool:
        """Renew all leases, first those that end first; return whether all calls were answered in time."""
        locks = sorted((lock for lock in self._held.values() if not lock.has_ended), key=lambda lock: lock.valid_until)
        for start in range(0, len(locks), _RENEWED_AT_ONCE):
            some = [lock for lock in locks[start : start + _RENEWED_AT_ONCE] if self._is_running(lock)]
            if some and not await self._renew_some(some):
                return False
        return True

    async def _renew_some(self, locks: list[LeaseLock]) -> bool:
        """Renew the leases of ``locks``, of which the first ends first; return whether there was an answer in time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        margin = self._lease_seconds * _MARGIN
        try:
            # Not beyond the time at which the first holder has to stop.
            async with asyncio.timeout_at(
                max(began, min(began + self._lease_seconds * _ATTEMPT, locks[0].valid_until - margin))
            ):
                lost = await self._leases.renew([(lock.key, lock.owner) for lock in locks], self._lease_seconds)
        except (LocksUnavailable, TimeoutError) as error:
            log.warning("could not renew locks, retrying", extra={"reason": str(error) or "no answer"})
            latest = loop.time() + self._lease_seconds * _RETRY + margin
            for lock in list(self._held.values()):
                if lock.valid_until < latest and not lock.has_ended:
                    lock.end(is_taken=False)
            return False
        for lock in locks:
            if self._held.get(lock.key) is not lock:
                self._release_later(lock.key, lock.owner)  # released meanwhile, and perhaps renewed after that
            elif lock.key not in lost:
                lock.valid_until = began + self._lease_seconds
            elif not lock.has_ended:
                log.warning("another server has taken the lock of an upload", extra={"upload": lock.key})
                lock.end(is_taken=True)
        return True

    def _is_running(self, lock: LeaseLock) -> bool:
        return self._held.get(lock.key) is lock and not lock.has_ended

    def _in_background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
