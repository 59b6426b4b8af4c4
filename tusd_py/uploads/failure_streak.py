"""Ends a pass over many uploads when the store is down: each of them would wait for it in vain."""

from __future__ import annotations

import asyncio

from tusd_py.contracts.store import StoreUnavailable

#: A service that does not answer is given up after minutes for each upload. Refusals are quick, and do not end a pass.
_SECONDS_MAX = 300.0


class FailureStreak:
    """Failures of the store without a success between them."""

    def __init__(self) -> None:
        self._since: float | None = None  # the first of them

    def add(self, reason: str) -> None:
        """Note one more. Raises ``StoreUnavailable`` if the first was minutes ago."""
        now = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = now
        if now - self._since >= _SECONDS_MAX:
            minutes = (now - self._since) / 60
            raise StoreUnavailable(f"nothing has succeeded for {minutes:.0f} minutes: {reason}")

    def end(self) -> None:
        """The store did what was asked."""
        self._since = None
