"""Schedules: the due times of recurring work and the outcome of its last run. Values only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum

_DAILY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_EVERY = re.compile(r"every ([1-9][0-9]{0,3}) (second|minute|hour)s?", re.ASCII)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Timing:
    """Once a day at ``at``, or every ``every_seconds``, counted from 1970: so all machines agree."""

    text: str
    at: time | None = None
    every_seconds: int = 0

    def shown_in(self, zone: str) -> str:
        """The timing with the name of the time zone, which means something for a time of day only."""
        return self.text if self.at is None else f"{self.text} {zone}"

    def next_after(self, moment: datetime, zone: tzinfo) -> datetime:
        """The first due time after ``moment``, in UTC.

        A local time that does not exist, because clocks are set forward, is due as long after midnight as on any other
        day; one that exists twice is due the first time only.
        """
        if self.at is None:
            passed = (moment - _EPOCH) // timedelta(seconds=self.every_seconds)
            return _EPOCH + timedelta(seconds=(passed + 1) * self.every_seconds)
        day = moment.astimezone(zone).date()
        while (due := datetime.combine(day, self.at, zone).astimezone(UTC)) <= moment:
            day += timedelta(days=1)
        return due


def parse_timing(text: str) -> Timing:
    """``"03:00"``, or ``"every 5 minutes"`` (seconds, hours). Raises ``ValueError``."""
    if match := _DAILY.fullmatch(text):
        return Timing(text, time(int(match[1]), int(match[2])))
    if match := _EVERY.fullmatch(text):
        return Timing(text, every_seconds=int(match[1]) * _SECONDS[match[2]])
    raise ValueError('a time of day such as "03:00", or "every 5 minutes" (seconds, hours)')


class RunOutcome(StrEnum):
    """The outcome of the last run of a schedule."""

    NEVER = "never"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleState:
    """A schedule as it is recorded. ``holder`` is the process that runs it, until ``lease_until``.

    A run whose lease has ended without a result has died; the schedule is still due, and another process takes it over.
    """

    name: str
    timing: str
    due_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: RunOutcome = RunOutcome.NEVER
    detail: str = ""  # of the last run: what it has done, or why it failed
    holder: str = ""
    lease_until: datetime | None = None
