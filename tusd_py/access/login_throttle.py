"""Slows down failed logins, in the memory of one process.

Somebody who guesses waits twice as long after each further failure. Another address is not affected: an account is
never locked for its owner because of guesses from elsewhere.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from tusd_py.protocol.access_errors import TooManyLogins

#: Attempts without a delay, of one account from one address, and of one address.
ACCOUNT_ATTEMPTS = 5
ADDRESS_ATTEMPTS = 20
#: The longest delay, and how long after the last attempt all of them are forgotten.
SECONDS_MAX = 300.0
FORGET_SECONDS = 900.0
#: How many accounts and addresses are remembered; the oldest are forgotten first.
_ENTRIES_MAX = 20_000


@dataclass(slots=True)
class _Attempts:
    count: int
    last_at: float


class MemoryLoginThrottle:
    """Counts attempts until they succeed. ``clock`` is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._attempts: dict[tuple[str, str], _Attempts] = {}

    async def begin(self, name: str, address: str) -> None:
        now = self._clock()
        keys = (((name, address), ACCOUNT_ATTEMPTS), (("", address), ADDRESS_ATTEMPTS))
        wait = max(self._wait_seconds(key, free, now) for key, free in keys)
        if wait > 0:
            raise TooManyLogins(math.ceil(wait))
        # Counted before the password is looked at: else attempts that come together would all be free.
        for key, _ in keys:
            self._count(key, now)

    async def succeeded(self, name: str, address: str) -> None:
        self._attempts.pop((name, address), None)
        if (attempts := self._attempts.get(("", address))) is not None:
            attempts.count -= 1

    def _wait_seconds(self, key: tuple[str, str], free: int, now: float) -> float:
        attempts = self._attempts.get(key)
        if attempts is None:
            return 0.0
        if now - attempts.last_at > FORGET_SECONDS:
            del self._attempts[key]
            return 0.0
        late = attempts.count - free
        return 0.0 if late < 0 else min(SECONDS_MAX, 2.0 ** min(late, 10)) - (now - attempts.last_at)

    def _count(self, key: tuple[str, str], now: float) -> None:
        # Removed and added again, so that the oldest entries stand first.
        attempts = self._attempts.pop(key, None) or _Attempts(0, now)
        attempts.count += 1
        attempts.last_at = now
        self._attempts[key] = attempts
        if len(self._attempts) > _ENTRIES_MAX:
            del self._attempts[next(iter(self._attempts))]
