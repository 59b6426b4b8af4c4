"""Counts acts of clients in the memory of one process."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

from tusd_py.model.rates import Rate

#: Keys that are remembered at once; the one that has acted least recently is forgotten first.
KEYS_MAX = 100_000
#: How many keys whose acts are out of their window each act forgets: more than it adds.
_FORGOTTEN_AT_ONCE = 2


class LocalCounter:
    """See ``RateCounter``. A restart forgets the counts; a change of the machine's time has no effect.

    The storage of the library ``limits`` for one process keeps every key it has ever seen, and looks at all of them
    after each act: 8 ms of CPU with 100,000 addresses.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # The times of the last acts by rate and key; a key that acts moves to the end.
        self._acts: OrderedDict[tuple[Rate, str], deque[float]] = OrderedDict()

    @property
    def in_memory(self) -> LocalCounter:
        return self

    async def hit(self, rate: Rate, key: str) -> float:
        return self.hit_now(rate, key)

    async def wait_seconds(self, rate: Rate, key: str) -> float:
        return self.wait_seconds_now(rate, key)

    async def forget(self, rate: Rate, key: str) -> None:
        self._acts.pop((rate, key), None)

    async def close(self) -> None:
        """There are no connections."""

    def hit_now(self, rate: Rate, key: str) -> float:
        """See ``MemoryCounts``."""
        if wait := self.wait_seconds_now(rate, key):
            return wait
        acts = self._acts.get((rate, key))
        if acts is None:
            acts = self._acts[rate, key] = deque(maxlen=rate.amount)
        acts.append(self._clock())
        self._acts.move_to_end((rate, key))
        self._forget_old()
        return 0.0

    def wait_seconds_now(self, rate: Rate, key: str) -> float:
        """See ``MemoryCounts``."""
        acts = self._acts.get((rate, key))
        if acts is None or len(acts) < rate.amount:
            return 0.0
        return max(0.0, acts[0] + rate.seconds - self._clock())

    def take_back(self, rate: Rate, key: str) -> None:
        """See ``MemoryCounts``."""
        acts = self._acts.get((rate, key))
        if acts is None:
            return
        acts.pop()
        if not acts:
            del self._acts[rate, key]

    def _forget_old(self) -> None:
        now = self._clock()
        for _ in range(_FORGOTTEN_AT_ONCE):
            (rate, key), acts = next(iter(self._acts.items()))
            if acts[-1] + rate.seconds > now and len(self._acts) <= KEYS_MAX:
                break
            del self._acts[rate, key]
