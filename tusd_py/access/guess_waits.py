"""Caches for a few seconds how long addresses must wait before they may enter another access code."""

from __future__ import annotations

from datetime import datetime, timedelta

from tusd_py.access.bounded_cache import BoundedCache

#: A cached wait is used this long before the database is asked again: the wait may have become shorter.
_REMEMBERED = timedelta(seconds=10)
#: The most addresses that are cached, about 2 MB; the oldest are evicted first.
ADDRESSES_MAX = 10_000


class GuessWaits:
    """The waits of addresses. While an address is cached, its further attempts cause no write to the database."""

    def __init__(self) -> None:
        # When the database is asked again, and when the wait ends.
        self._waits = BoundedCache[str, tuple[datetime, datetime]](ADDRESSES_MAX)

    def remaining(self, address: str, now: datetime) -> timedelta | None:
        """How long ``address`` must still wait; ``None`` if it is not cached."""
        found = self._waits.get(address)
        return found[1] - now if found is not None and now < min(found) else None

    def note(self, address: str, wait: timedelta, now: datetime) -> None:
        """Cache that ``address`` must wait."""
        self._waits.remember(address, (now + _REMEMBERED, now + wait))
