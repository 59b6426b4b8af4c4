"""The contract of a locker: one exclusive hold an upload, which the holder is asked to give up when another comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class LockTimeout(Exception):
    """The holder did not let go in time; the client should try again shortly."""


class Lock(Protocol):
    """The exclusive right to change one upload, until ``release``, or until the process dies."""

    def on_release_requested(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` on the event loop, once, when somebody else asks for this hold; at once if they already do.

        ``tell`` must not block; who holds should flush, save and release within a few hundredths of a second.
        """
        ...

    async def release(self) -> None:
        """Let go. The next who waits is woken at once, in this process or another. Releasing twice is no error."""
        ...


class Locker(Protocol):
    """Gives out holds: at most one an upload at any time, among all processes that share the medium."""

    async def acquire(self, upload_id: str, timeout_seconds: float) -> Lock:
        """Wait for the hold, asking its holder to let go; newcomers are served in the order they came.

        Raises ``LockTimeout`` after ``timeout_seconds``. Cancelled while waiting, nothing is held.
        """
        ...

    async def try_acquire(self, upload_id: str) -> Lock | None:
        """The hold if nobody has it, else ``None``; never disturbs a holder."""
        ...

    async def close(self) -> None:
        """Let go of sockets and files. Holds still out are lost."""
        ...
