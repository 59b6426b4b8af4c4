"""Remembers for a moment which addresses must wait before they may enter another access code."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

#: The database is asked again after this long: the wait may have become shorter.
_REMEMBERED = timedelta(seconds=10)
#: Addresses that are remembered at once, about 2 MB; the oldest are forgotten first.
ADDRESSES_MAX = 10_000


class GuessWaits:
    """Spares the writer of the database from an address that goes on although it was told to wait."""

    def __init__(self) -> None:
        self._waits: OrderedDict[str, tuple[datetime, datetime]] = OrderedDict()  # asked again at, wait ends at

    def remaining(self, address: str, now: datetime) -> timedelta | None:
        """How long ``address`` must still wait, if that was found out a moment ago."""
        found = self._waits.get(address)
        return found[1] - now if found is not None and now < min(found) else None

    def note(self, address: str, wait: timedelta, now: datetime) -> None:
        """Remember that ``address`` must wait."""
        self._waits[address] = (now + _REMEMBERED, now + wait)
        self._waits.move_to_end(address)
        if len(self._waits) > ADDRESSES_MAX:
            self._waits.popitem(last=False)
