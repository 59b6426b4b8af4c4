"""HTTP dates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tusd_py.protocol.dates import format_date, parse_date

AT = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


def test_format_date() -> None:
    """Dates are formatted as IMF-fixdate in GMT, without fractions."""
    assert format_date(AT.replace(microsecond=999_999)) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert format_date(AT.astimezone(timezone(timedelta(hours=5)))) == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    "text", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_parse_three_formats(text: str) -> None:
    """All three formats of RFC 9110 are parsed."""
    assert parse_date(text) == AT


def test_two_digit_year() -> None:
    """Small two-digit years belong to this century."""
    parsed = parse_date("Sunday, 06-Nov-26 08:49:37 GMT")
    assert parsed is not None
    assert parsed.year == 2026


def test_leap_second() -> None:
    """Second 60 is allowed by the grammar and parsed as 59."""
    assert parse_date("Sun, 06 Nov 1994 08:49:60 GMT") == AT.replace(second=59)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "now",
        "0",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 06 Xxx 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun Nov    08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
    ],
)
def test_invalid_date_is_ignored(text: str | None) -> None:
    """Invalid dates are ignored, as RFC 9110 requires."""
    assert parse_date(text) is None
