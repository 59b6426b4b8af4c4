"""The clock of the database, which all machines share, whatever their own clocks say."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from tusd_py.records.sql.driver import DatabaseConnection

#: How old a reading may be. Until the next, time goes on as this machine's steady clock counts it.
_OLD_SECONDS = 10.0
#: A reading whose answer took longer is not used if there is a better one: it is wrong by half of that at most.
_SLOW_SECONDS = 0.5

_READ = "SELECT clock_timestamp()"


class DatabaseClock:
    """Tells the time of the database, as of its last reading, which is exact to half of a round trip.

    Leases and due times are written by one machine and compared by another. A step of this machine's clock has no
    effect; one of the database's has, at the next reading.
    """

    def __init__(self) -> None:
        self._reading = (datetime.now(UTC), time.monotonic())
        self._read_at = -_OLD_SECONDS

    def __call__(self) -> datetime:
        then, at = self._reading
        return then + timedelta(seconds=time.monotonic() - at)

    @property
    def is_old(self) -> bool:
        """Whether it should be read again."""
        return time.monotonic() - self._read_at > _OLD_SECONDS

    def read(self, connection: DatabaseConnection) -> None:
        """Read the clock of the database. Raises like ``execute``."""
        before = time.monotonic()
        then = connection.execute(_READ, {}).fetchone()[0]
        after = time.monotonic()
        if after - before < _SLOW_SECONDS or self._read_at < 0:
            self._reading = (then.astimezone(UTC), (before + after) / 2)
        self._read_at = after
