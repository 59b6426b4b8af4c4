"""Structured fields (RFC 9651): parsing and formatting of Items and Dictionaries.

A field with invalid syntax is ignored as a whole ("fail parsing"), so the parsers return None instead of raising.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from urllib.parse import unquote_to_bytes

from tusd_py.protocol.headers import format_base64, parse_base64

#: RFC 9651, 3.3.1: "Integers have a range of -999,999,999,999,999 to 999,999,999,999,999 inclusive".
INTEGER_MAX = 10**15 - 1


class Other(Enum):
    """Stands for a value of any type that no field of the draft uses."""

    VALUE = "value"


Bare = bool | int | bytes | Other

# If a number is too long, its remaining digits match nothing, and the whole field fails to parse.
_BARE = re.compile(
    r"""
      (?P<boolean>\?[01])
    | (?P<decimal>-?[0-9]{1,12}\.[0-9]{1,3})
    | (?P<integer>-?[0-9]{1,15})
    | :(?P<bytes>[A-Za-z0-9+/]*)={0,2}:
    | (?P<string>"(?:[\ !\#-\[\]-~]|\\["\\])*")
    | (?P<token>[A-Za-z*][!\#$%&'*+.^_`|~0-9A-Za-z:/-]*)
    | (?P<date>@-?[0-9]{1,15})
    | %"(?P<display>(?:[\ !\#$&-~]|%[0-9a-f]{2})*)"
    """,
    re.VERBOSE,
)
_KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")
_SPACES = re.compile(r" *")
_OWS = re.compile(r"[ \t]*")


class _Malformed(ValueError):
    """The text does not match the grammar."""


def parse_boolean(text: str) -> bool | None:
    """Parse an Item that is a Boolean; None otherwise. Parameters are ignored."""
    value = _item(text)
    return value if isinstance(value, bool) else None


def parse_integer(text: str) -> int | None:
    """Parse an Item that is an Integer; None otherwise. Parameters are ignored."""
    value = _item(text)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def parse_dictionary(text: str) -> dict[str, Bare] | None:
    """Parse a Dictionary into its members without parameters; None if invalid. An Inner List becomes ``Other``."""
    reader = _Reader(text.strip(" "))
    try:
        return reader.dictionary()
    except _Malformed:
        return None


def format_boolean(value: bool) -> str:
    """``value`` as an Item."""
    return "?1" if value else "?0"


def format_integer(value: int) -> str:
    """``value`` as an Item."""
    assert -INTEGER_MAX <= value <= INTEGER_MAX, "out of range for an Integer"
    return str(value)


def format_dictionary(members: Mapping[str, bool | int | bytes]) -> str:
    """``members`` as a Dictionary, in order."""
    return ", ".join(_member(key, value) for key, value in members.items())


def _member(key: str, value: bool | int | bytes) -> str:
    assert _KEY.fullmatch(key), "not a valid key"
    if value is True:
        return key  # RFC 9651, 3.2: "Members whose value is Boolean (see Section 3.3.6) true MUST omit that value".
    if isinstance(value, bytes):
        return f"{key}=:{format_base64(value)}:"
    return f"{key}={format_boolean(value) if isinstance(value, bool) else format_integer(value)}"


def _item(text: str) -> Bare | None:
    reader = _Reader(text.strip(" "))
    try:
        value = reader.item()
    except _Malformed:
        return None
    return value if reader.is_at_end else None


class _Reader:
    """The algorithms of RFC 9651, 4.2, over one text."""

    __slots__ = ("_at", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._text)

    def dictionary(self) -> dict[str, Bare]:
        members: dict[str, Bare] = {}
        if self.is_at_end:
            return members
        while True:
            key = self._match(_KEY)[0]
            members[key] = self._value()
            self._match(_OWS)
            if self.is_at_end:
                return members
            if not self._skip(","):
                raise _Malformed
            self._match(_OWS)

    def item(self) -> Bare:
        value = self._bare()
        self._parameters()
        return value

    def _value(self) -> Bare:
        value: Bare = True
        if self._skip("="):
            value = self._list() if self._skip("(") else self._bare()
        self._parameters()
        return value

    def _list(self) -> Bare:
        self._match(_SPACES)
        while not self._skip(")"):
            self.item()
            # 3.1.1: "Inner Lists are delimited by surrounding parentheses, and their values are delimited by one or
            # more spaces."
            if not self._match(_SPACES)[0] and self._text[self._at : self._at + 1] != ")":
                raise _Malformed
        return Other.VALUE

    def _parameters(self) -> None:
        while self._skip(";"):
            self._match(_SPACES)
            self._match(_KEY)
            if self._skip("="):
                self._bare()

    def _bare(self) -> Bare:
        match = self._match(_BARE)
        text = match[match.lastgroup or 0]
        if match.lastgroup == "boolean":
            return text == "?1"
        if match.lastgroup == "integer":
            return int(text)
        if match.lastgroup == "bytes":
            # 4.2.7: "parsers MUST ... synthesizing padding if necessary".
            value = parse_base64(text + "=" * (-len(text) % 4))
            if value is None:
                raise _Malformed
            return value
        if match.lastgroup == "display":
            _decoded(text)
        return Other.VALUE

    def _skip(self, character: str) -> bool:
        if not self._text.startswith(character, self._at):
            return False
        self._at += 1
        return True

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise _Malformed
        self._at = match.end()
        return match


def _decoded(text: str) -> None:
    """4.2.10: a Display String whose bytes are not UTF-8 fails parsing."""
    try:
        unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise _Malformed from None
