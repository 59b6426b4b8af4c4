"""Cursors: what was put in comes out, and nothing else is accepted."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.web.api.cursors import format_cursor, parse_cursor
from tusd_py.web.api.problems import ApiError

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=100)


@given(st.integers(0, 2**63 - 1), TEXT)
def test_cursor_round_trip(number: int, text: str) -> None:
    """A cursor holds numbers and texts, and is safe in a query."""
    cursor = format_cursor("u", number, text)
    assert parse_cursor(cursor, "u", int, str) == [number, text]
    assert cursor.replace("-", "").replace("_", "").isalnum()


def encoded(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "====",
        "é",
        "a" * 5000,
        encoded(b'["other",1,"a"]'),
        encoded(b'["u",1]'),
        encoded(b'["u",1,"a",2]'),
        encoded(b'["u","1","a"]'),
        encoded(b'["u",true,"a"]'),
        encoded(b'["u",-1,"a"]'),
        encoded(b'["u",9223372036854775808,"a"]'),
        encoded(b'["u",1,"\\u0000"]'),
        encoded(b'["u",1,"\\ud800"]'),
        encoded(b'{"u":1}'),
        encoded(b"[]"),
        encoded(b"\xff"),
        encoded(b"[" * 1400),
        encoded(b'["u",1.5,"a"]'),
        encoded(b'["u",NaN,"a"]'),
    ],
)
def test_foreign_cursor_400(cursor: str) -> None:
    """Whatever a list did not return as ``next`` is refused with a sentence."""
    with pytest.raises(ApiError) as refused:
        parse_cursor(cursor, "u", int, str)
    assert (refused.value.status, "cursor" in refused.value.sentence) == (400, True)


@given(st.text(max_size=200))
def test_no_text_breaks_the_parser(text: str) -> None:
    """Every text is a cursor or is refused."""
    try:
        parse_cursor(text, "u", int)
    except ApiError as refused:
        assert refused.status == 400
