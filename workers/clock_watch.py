"""Limits the waits of jobs when the clock is set back.

Due times and leases are times of day, so that they hold across processes and restarts. When the clock is set back by an
hour, they all lie an hour too far in the future: no job would run before the clock has caught up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from tusd_py.contracts.records import RecordsError

from .runner import JobRunner, backoff_seconds, describe

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
#: A clock that is adjusted gradually is never this much behind at once.
_STEP_SECONDS = 2.0
#: A job that has not failed is due at once. It waits only if a worker older than the server has returned it, which may
#: return it again.
_NEW_SECONDS = 1.0
#: A job that has failed may wait this long whatever the number of its attempts: its endpoint asked for it.
_WAIT_SECONDS = 60.0
#: An endpoint may ask for a wait of a day with Retry-After. A worker that starts cannot know whether the clock was set
#: back before, and must not shorten that.
_LONGEST_WAIT_SECONDS = 24 * 3600.0 + 60.0
#: From this attempt on the wait no longer grows.
_ATTEMPTS = 17


class ClockWatch:
    """Compares the clock with the monotonic one of the event loop, in every worker: what it does can be repeated."""

    def __init__(self, runner: JobRunner, wake: Callable[[], None]) -> None:
        self._runner = runner
        self._wake = wake
        self._failing = False

    async def run(self) -> None:
        """Limit the waits once, and each time the clock has been set back, until cancelled."""
        longest = [_LONGEST_WAIT_SECONDS] * _ATTEMPTS
        is_due = not await self._limit_waits([_NEW_SECONDS, *longest])
        usual = [_NEW_SECONDS, *(max(_WAIT_SECONDS, backoff_seconds(n + 1, lambda: 1.0)) for n in range(_ATTEMPTS))]
        ahead = self._ahead_seconds()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now_ahead = self._ahead_seconds()
            if now_ahead < ahead - _STEP_SECONDS:
                log.warning("the clock was set back", extra={"seconds": round(ahead - now_ahead, 3)})
                is_due = True
            # A slow adjustment adds up to nothing: only what changes within a second counts.
            ahead = now_ahead
            if is_due:
                is_due = not await self._limit_waits(usual)

    def _ahead_seconds(self) -> float:
        return self._runner.ports.clock().timestamp() - asyncio.get_running_loop().time()

    async def _limit_waits(self, waits_seconds: list[float]) -> bool:
        """Return whether it was done."""
        waits = [timedelta(seconds=seconds) for seconds in waits_seconds]
        try:
            count = await self._runner.job_queue.limit_waits(self._runner.ports.clock(), self._runner.lease, waits)
        except RecordsError as error:
            if not self._failing:
                log.warning("could not limit the waits of jobs, retrying", extra={"reason": describe(error)})
            self._failing = True
            return False
        self._failing = False
        if count:
            log.warning("jobs were due later than they can be: the clock was set back", extra={"jobs": count})
            self._wake()
        return True
