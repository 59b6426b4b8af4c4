"""The contract of what counts acts of clients, to limit how often they happen."""

from __future__ import annotations

from typing import Protocol

from tusd_py.model.rates import Rate


class RateCounter(Protocol):
    """Counts acts by key within a moving window. It never fails: what it cannot count is counted less exactly.

    A key says who does what, for example ``create user:alice``. It contains no secret.
    """

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
