"""``Pace``: lets work begin at a limited rate."""

from __future__ import annotations

import asyncio


class Pace:
    """At most ``per_second`` units a second, on average since the last pause, for all tasks of one event loop."""

    def __init__(self, per_second: float) -> None:
        self._seconds_each = 1 / per_second
        self._free_at = 0.0

    async def take(self, count: int = 1) -> None:
        """Wait for the turn of ``count`` units. Callers are let through in the order of their calls."""
        now = asyncio.get_running_loop().time()
        begins_at = max(self._free_at, now)
        self._free_at = begins_at + count * self._seconds_each
        if begins_at > now:
            await asyncio.sleep(begins_at - now)
