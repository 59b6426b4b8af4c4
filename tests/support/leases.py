"""Leases in memory, on the clock of the event loop, for lockers of one test; calls may fail by count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import count

from tests.faults.failing import Faults
from tusd_py.contracts.leases import Held, Taken
from tusd_py.contracts.locker import LocksUnavailable

_numbers = count(1)


@dataclass
class Medium:
    """What the processes of a test share: leases by key, and the receivers of messages by address."""

    leases: dict[str, tuple[str, float]] = field(default_factory=dict)
    receivers: dict[str, Callable[[str], None]] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    #: Whether a call that fails has had its effect: its answer was lost.
    fails_after: bool = False
    is_down: bool = False
    #: How long each of the next renewals takes to be answered, after its effect; none of those that follow.
    renewal_delays_seconds: list[float] = field(default_factory=list)


class FakeLeases:
    """The ``Leases`` of one process on ``medium``."""

    def __init__(self, medium: Medium) -> None:
        self.address = f"process-{next(_numbers)}"
        self._medium = medium

    def open(self, on_message: Callable[[str], None]) -> None:
        self._medium.receivers[self.address] = on_message

    async def take(self, key: str, owner: str, seconds: float) -> Taken | Held:
        fails = await self._reach()
        now = asyncio.get_running_loop().time()
        found, until = self._medium.leases.get(key, ("", 0.0))
        if found and found != owner and until > now:
            outcome: Taken | Held = Held(found)
        else:
            self._medium.leases[key] = owner, now + seconds
            outcome = Taken(bool(found) and found != owner)
        self._raise_if(fails)
        return outcome

    async def renew(self, owners: Collection[tuple[str, str]], seconds: float) -> set[str]:
        fails = await self._reach()
        lost = set()
        for key, owner in owners:
            if self._medium.leases.get(key, (owner, 0.0))[0] == owner:
                self._medium.leases[key] = owner, asyncio.get_running_loop().time() + seconds
            else:
                lost.add(key)
        if self._medium.renewal_delays_seconds:
            await asyncio.sleep(self._medium.renewal_delays_seconds.pop(0))
        self._raise_if(fails)
        return lost

    async def release(self, key: str, owner: str) -> None:
        fails = await self._reach()
        if self._medium.leases.get(key, ("", 0.0))[0] == owner:
            del self._medium.leases[key]
        self._raise_if(fails)

    def send(self, address: str, message: str) -> None:
        if not self._medium.is_down:
            asyncio.get_running_loop().call_soon(self._deliver, address, message)

    async def close(self) -> None:
        self._medium.receivers.pop(self.address, None)

    def _deliver(self, address: str, message: str) -> None:
        receiver = self._medium.receivers.get(address)  # none: it was closed meanwhile
        if receiver is not None:
            receiver(message)

    async def _reach(self) -> bool:
        """Whether this call fails after its effect. Raises ``LocksUnavailable`` if it fails before."""
        await asyncio.sleep(0.001)
        if self._medium.is_down:
            raise LocksUnavailable("a fault of the test")
        fails = self._medium.faults.is_due()
        self._raise_if(fails and not self._medium.fails_after)
        return fails

    def _raise_if(self, fails: bool) -> None:
        if fails:
            raise LocksUnavailable("a fault of the test")
