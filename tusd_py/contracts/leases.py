"""The contract of leases: exclusive for a time, among machines, with messages between the processes that use them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Taken:
    """The caller has the lease. ``was_abandoned``: an earlier owner has not released it, and may still run."""

    was_abandoned: bool


@dataclass(frozen=True, slots=True)
class Held:
    """Another owner has the lease; ``owner`` is empty if that is not known."""

    owner: str


class Leases(Protocol):
    """Leases by key, for owners whose text begins with the address of their process, and a space.

    All calls raise ``LocksUnavailable`` if the medium cannot be reached. A lease ends by itself, by the clock of the
    medium, when it has not been renewed for its time. Messages may be lost.
    """

    @property
    def address(self) -> str:
        """Where other processes send messages for this one; without spaces."""
        ...

    def open(self, on_message: Callable[[str], None]) -> None:
        """Receive messages on the running event loop, from now on or soon after."""
        ...

    async def take(self, key: str, owner: str, seconds: float) -> Taken | Held:
        """Take the lease if it is free or has ended. A second call of its owner succeeds."""
        ...

    async def renew(self, owners: Collection[tuple[str, str]], seconds: float) -> set[str]:
        """Extend leases, given by key and owner; return the keys of those that belong to another owner by now.

        A lease that the medium has forgotten is taken again.
        """
        ...

    async def release(self, key: str, owner: str) -> None:
        """End the lease if this owner has it."""
        ...

    def send(self, address: str, message: str) -> None:
        """Send a message to another process; never waits and never raises."""
        ...

    async def close(self) -> None:
        """Receive no more messages, and close all connections."""
        ...
