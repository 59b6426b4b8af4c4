"""The contract of what counts acts of clients, to limit how often they happen."""

from __future__ import annotations

from typing import Protocol

from tusd_py.model.rates import Rate


class RateCounter(Protocol):
    """Counts acts by key within a moving window. It never fails: what it cannot count is counted less exactly.

    A key says who does what, for example ``create user:alice``. It contains no secret.
    """

    @property
    def in_memory(self) -> MemoryCounts | None:
        """The same counts, if they are in the memory of this process."""
        ...

    async def hit(self, rate: Rate, key: str) -> float:
        """Count one act if ``rate`` permits it, and return 0. Else count nothing and return the seconds to wait."""
        ...

    async def wait_seconds(self, rate: Rate, key: str) -> float:
        """What ``hit`` would return, without counting."""
        ...

    async def forget(self, rate: Rate, key: str) -> None:
        """Forget what was counted."""
        ...

    async def close(self) -> None:
        """Close the connections to other servers, if there are any."""
        ...


class MemoryCounts(Protocol):
    """Counts that are used without waiting: nothing happens between two calls of the same callback."""

    def hit_now(self, rate: Rate, key: str) -> float:
        """As ``RateCounter.hit``."""
        ...

    def wait_seconds_now(self, rate: Rate, key: str) -> float:
        """As ``RateCounter.wait_seconds``."""
        ...

    def take_back(self, rate: Rate, key: str) -> None:
        """Forget the last act that was counted."""
        ...
