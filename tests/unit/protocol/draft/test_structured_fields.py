"""Structured fields: the examples of RFC 9651, and input that fails parsing."""

from __future__ import annotations

import pytest

from tusd_py.protocol.draft.structured_fields import (
    INTEGER_MAX,
    Other,
    format_boolean,
    format_dictionary,
    format_integer,
    parse_boolean,
    parse_dictionary,
    parse_integer,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("?1", True), ("?0", False), (" ?1 ", True), ("?1;a", True), ("?0; a=1;b=tok;c=:YQ:", False), ("?1;a=?0", True)],
)
def test_parse_boolean(text: str, value: bool) -> None:
    """R2: an Item that is a Boolean, with any parameters."""
    assert value is parse_boolean(text)


@pytest.mark.parametrize("text", ["", "1", "true", "?2", "?", "?1?0", "?1, ?1", "?1;", "?1;A", "?1;a=", "\t?1", "?1 x"])
def test_parse_boolean_invalid(text: str) -> None:
    """R2: everything else is ignored as a whole, also two values."""
    assert parse_boolean(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("00", 0), ("-0", 0), ("42", 42), ("-7", -7), ("999999999999999", INTEGER_MAX), ("5;p=1.5", 5)],
)
def test_parse_integer(text: str, value: int) -> None:
    """R7: up to fifteen digits, with leading zeros."""
    assert value == parse_integer(text)


@pytest.mark.parametrize("text", ["1000000000000000", "1.5", "1.", "+1", "1_0", "\xb2", "?1", '"1"', "", "--1", "1 2"])
def test_parse_integer_invalid(text: str) -> None:
    """R7: sixteen digits, decimals, and forms that only Python accepts."""
    assert parse_integer(text) is None


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("", {}),
        ("a", {"a": True}),
        ("a=1, b=?0 ,\tc=:YWI:", {"a": 1, "b": False, "c": b"ab"}),
        ("a=1,a=2", {"a": 2}),
        ("a;x=1;y, *b-c.d_e=4;z", {"a": True, "*b-c.d_e": 4}),
        ('s="x, \\"y\\"", t=tok/en:x, d=-1.25, e=@1659578233', dict.fromkeys("stde", Other.VALUE)),
        ('l=( 1  2;q "3" ), m=();n, o=%"f%c3%bc"', dict.fromkeys("lmo", Other.VALUE)),
        ("b=:YWI=:, c=::", {"b": b"ab", "c": b""}),
    ],
)
def test_parse_dictionary(text: str, members: dict[str, object]) -> None:
    """Members of every type; of a repeated key the last counts."""
    assert members == parse_dictionary(text)


@pytest.mark.parametrize(
    "text",
    [
        "a=",
        "a,",
        ",a",
        "A=1",
        "a=1 b=2",
        "a=(1",
        "a=(1,2)",
        'a=(1"2")',
        'a="x',
        "a=:Y!:",
        "a=:YWI",
        "a=:A:",
        "a=é",
        'a=%"%ff"',
        'a=%"%C3"',
        'a="\\x"',
        "a==1",
        "a=@1.5",
        "1=a",
        "a=:Y=I=:",
    ],
)
def test_parse_dictionary_invalid(text: str) -> None:
    """One invalid member invalidates the whole field."""
    assert parse_dictionary(text) is None


def test_values_are_formatted_canonically() -> None:
    """Values are formatted in canonical form."""
    assert ("?1", "?0", "-5") == (format_boolean(True), format_boolean(False), format_integer(-5))
    assert "a=1, b, c=?0, d=:YWI=:" == format_dictionary({"a": 1, "b": True, "c": False, "d": b"ab"})
