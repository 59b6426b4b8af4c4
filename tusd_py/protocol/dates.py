"""HTTP dates (RFC 9110, 5.6.7)."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# "A recipient that parses a timestamp value in an HTTP field MUST accept all three HTTP-date formats."
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_FORMATS = (
    re.compile(rf"[A-Z][a-z]{{2}}, (?P<day>[0-9]{{2}}) (?P<month>[A-Z][a-z]{{2}}) (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(rf"[A-Z][a-z]+day, (?P<day>[0-9]{{2}})-(?P<month>[A-Z][a-z]{{2}})-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(rf"[A-Z][a-z]{{2}} (?P<month>[A-Z][a-z]{{2}}) (?P<day>[0-9 ][0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)


def format_date(at: datetime) -> str:
    """The aware datetime ``at`` as an IMF-fixdate, truncated to whole seconds."""
    return _format(math.floor(at.timestamp()))


# Uploads that are created in the same second expire in the same second; formatting it takes 4 microseconds.
@lru_cache(maxsize=1024)
def _format(seconds: int) -> str:
    return format_datetime(_EPOCH + timedelta(seconds=seconds), usegmt=True)


def parse_date(text: str | None) -> datetime | None:
    """Parse ``text`` in any of the three formats; None if it is none of them: recipients ignore invalid dates."""
    for form in _FORMATS:
        match = form.fullmatch(text or "")
        if match is not None and match["month"] in _MONTHS:
            return _date(match)
    return None


def _date(match: re.Match[str]) -> datetime | None:
    year = int(match["year"])
    if len(match["year"]) == 2:
        # RFC 9110: a two-digit year that appears more than 50 years in the future is in the past. There is no clock
        # here, so this uses the fixed limit of the email package.
        year += 2000 if year < 69 else 1900
    try:
        return datetime(
            year,
            _MONTHS.index(match["month"]) + 1,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            min(int(match["second"]), 59),  # a leap second
            tzinfo=UTC,
        )
    except ValueError:
        return None
