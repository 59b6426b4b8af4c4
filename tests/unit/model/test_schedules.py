"""When schedules are due: times of day, intervals, and changes of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tusd_py.model.schedules import parse_timing

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("timing", "moment", "expected"),
    [
        ("03:00", "2026-01-01T02:59:59", "2026-01-01T03:00:00"),
        ("03:00", "2026-01-01T03:00:00", "2026-01-02T03:00:00"),
        ("00:00", "2026-12-31T23:59:59", "2027-01-01T00:00:00"),
        ("every 5 minutes", "2026-01-01T00:04:59", "2026-01-01T00:05:00"),
        ("every 5 minutes", "2026-01-01T00:05:00", "2026-01-01T00:10:00"),
        ("every 10 seconds", "2026-01-01T00:00:00.5", "2026-01-01T00:00:10"),
        ("every 1 hour", "2026-01-01T00:00:00", "2026-01-01T01:00:00"),
    ],
)
def test_next_after(timing: str, moment: str, expected: str) -> None:
    """The next due time is after the moment, never at it."""
    assert parse_timing(timing).next_after(at(moment), UTC) == at(expected)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        # Clocks go from 02:00 to 03:00 on 2026-03-29: 02:30 does not exist, and is run at 03:30 local time.
        ("2026-03-28T12:00:00", "2026-03-29T01:30:00"),
        ("2026-03-29T01:30:00", "2026-03-30T00:30:00"),
        # They go from 03:00 to 02:00 on 2026-10-25: 02:30 exists twice, and is run the first time only.
        ("2026-10-24T12:00:00", "2026-10-25T00:30:00"),
        ("2026-10-25T00:30:00", "2026-10-26T01:30:00"),
        ("2026-10-25T01:00:00", "2026-10-26T01:30:00"),
    ],
)
def test_changes_of_the_clocks(moment: str, expected: str) -> None:
    """A local time runs once a day, also on the two days on which clocks change."""
    assert parse_timing("02:30").next_after(at(moment), BERLIN) == at(expected)


@pytest.mark.parametrize(
    "text", ["", "3:00", "24:00", "03:60", "every 0 minutes", "every minutes", "* * * * *", "daily"]
)
def test_other_texts_are_refused(text: str) -> None:
    """The message says what is possible."""
    with pytest.raises(ValueError, match="03:00"):
        parse_timing(text)
