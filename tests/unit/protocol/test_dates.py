"""Dates in headers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tusd_py.protocol.dates import format_date, parse_date

AT = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


def test_formatting() -> None:
    """The form is that of RFC 9110, in GMT whatever the zone, without fractions."""
    assert format_date(AT.replace(microsecond=999_999)) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert format_date(AT.astimezone(timezone(timedelta(hours=5)))) == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    "text", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_the_three_forms(text: str) -> None:
    """All three that RFC 9110 names are read."""
    assert parse_date(text) == AT


def test_two_digits_of_a_year() -> None:
    """Small ones are of this century."""
    parsed = parse_date("Sunday, 06-Nov-26 08:49:37 GMT")
    assert parsed is not None
    assert parsed.year == 2026


def test_a_leap_second() -> None:
    """The grammar allows a second 60; it is read as the one before."""
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
def test_what_is_no_date(text: str | None) -> None:
    """It is ignored, as RFC 9110 asks."""
    assert parse_date(text) is None
