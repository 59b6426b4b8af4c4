"""The contract of a locker: one exclusive lock for each upload, which its holder releases when another caller waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: Whether the client of a request has closed the connection.
IsGone = Callable[[], bool]


class LockTimeout(Exception):
    """The holder did not release the lock in time; the client should try again shortly."""


class LocksUnavailable(Exception):
    """Nothing can be locked at the moment, or any more; the message is for operators. No lock is held then."""


class Lock(Protocol):
    """The exclusive right to change one upload, until ``release`` or until the process dies.

    Among machines it may end before that, unnoticed; the holder is then asked to release it. So it only keeps requests
    from disturbing each other, and the comparison in each save of the record decides.
    """

    @property
    def was_abandoned(self) -> bool:
        """Whether an earlier holder has not released it, and may still run: on a machine that was cut off."""
        ...

    @property
    def is_lost(self) -> bool:
        """Whether it has ended because the medium cannot be reached: no other caller is known to wait for it."""
        ...

    def on_release_requested(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, on the event loop, when another caller waits for the lock; now if one waits already.

        ``callback`` must not block; the holder should flush, save and release within a few hundredths of a second.
        """
        ...

    async def release(self) -> None:
        """Release the lock and wake the next waiter, in this process or another. A second call does nothing."""
        ...


class Locker(Protocol):
    """Locks uploads: at most one lock for each upload at any time, among all processes that share the medium."""

    async def acquire(self, upload_id: str, timeout_seconds: float, is_gone: IsGone | None = None) -> Lock:
        """Wait for the lock and request its release from the holder; waiters are served in the order they came.

        Among several processes the order is not strict. So a caller that waits for another process, and whose client
        has left (``is_gone``), waits no longer: it would interrupt what that client has begun elsewhere.

        Raises ``LockTimeout`` after ``timeout_seconds``, or ``LocksUnavailable``. A caller that is cancelled while it
        waits has no lock.
        """
        ...

    async def try_acquire(self, upload_id: str) -> Lock | None:
        """The lock if it is free, else ``None``; never requests its release. Raises ``LocksUnavailable``."""
        ...

    async def probe(self) -> None:
        """Check that locks can be acquired. Raises ``LocksUnavailable`` or ``OSError`` if not."""
        ...

    async def close(self) -> None:
        """Close sockets and files. Locks that are still held are lost."""
        ...
