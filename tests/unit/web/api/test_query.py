"""Queries: known parameters with valid values; everything else is 400 with a sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.web.api.problems import ApiError
from tusd_py.web.api.query import ApiQuery


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


KNOWN = ("text", "number", "flag", "colour", "at", "limit")


def read(query: str | bytes) -> list[object]:
    values = ApiQuery(query if isinstance(query, bytes) else query.encode(), KNOWN)
    return [
        values.text("text"),
        values.number("number", 7, 1000),
        values.flag("flag"),
        values.choices("colour", Colour),
        values.instant("at"),
        values.limit(),
    ]


def test_absent_parameters() -> None:
    """Absent parameters have their defaults."""
    assert read("") == ["", 7, None, [], None, 100]


def test_valid_parameters() -> None:
    """Values are decoded; a parameter that may be repeated keeps its order, each value once."""
    found = read("text=a%20b&number=12&flag=true&colour=blue&colour=red&colour=blue&at=2026-01-31&limit=1000")
    assert found == ["a b", 12, True, [Colour.BLUE, Colour.RED], datetime(2026, 1, 31, tzinfo=UTC), 1000]


@pytest.mark.parametrize("text", ["2026-01-31T13:00:00+01:00", "2026-01-31T13:00:00%2B01:00", "2026-01-31T12:00:00Z"])
def test_instant_with_zone(text: str) -> None:
    """A time with a zone; a plus sign that the client did not escape is one all the same."""
    assert ApiQuery(f"at={text}".encode(), KNOWN).instant("at") == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "query",
    [
        "txet=a",
        "text=a&text=b",
        "text=%00",
        "text=" + "a" * 1025,
        "number=",
        "number=-1",
        "number=1001",
        "number=1e3",
        "number=%D9%A3",
        "number=" + "9" * 5000,
        "flag=yes",
        "colour=green",
        "colour=",
        "at=yesterday",
        "at=0001-01-01T00:00:00%2B23:59",
        "at=9999-12-31T23:59:59-23:59",
        "limit=1001",
        "&".join(f"text={number}" for number in range(101)),
    ],
)
def test_invalid_query_400(query: str) -> None:
    """Each gets a sentence, and none of them is echoed whole."""
    with pytest.raises(ApiError) as refused:
        read(query)
    assert (refused.value.status, len(refused.value.sentence) < 200) == (400, True)


def test_unknown_parameter_names_the_known_ones() -> None:
    """A misspelt filter is not ignored: the list would show what the client did not ask for."""
    with pytest.raises(ApiError, match=r"does not know the query parameter 'stauts'; it knows status, owner"):
        ApiQuery(b"stauts=ready", ("status", "owner"))


@given(st.binary(max_size=60))
def test_no_query_breaks_the_parser(query: bytes) -> None:
    """Every query is read or is refused."""
    try:
        read(query)
    except ApiError as refused:
        assert refused.status == 400
