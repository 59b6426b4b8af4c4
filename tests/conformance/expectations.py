"""Expectations of statuses and headers, with their wording for the transcript."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from types import EllipsisType


@dataclass(frozen=True)
class Matcher:
    """A predicate on a header's value (``None`` when it is absent), with the words that describe it."""

    words: str
    holds: Callable[[str | None], bool]
    lacks: Callable[[str | None], str] | None = None  # what is missing, if that explains more than the value


#: ``None``: the header must be absent. ``...``: it must be present with any value. Numbers stand for their digits.
Expected = str | int | None | EllipsisType | Matcher
Status = int | tuple[int, ...] | range

REFUSED = range(400, 500)
FOUND = (200, 204)
GONE = (404, 410)


def one_of(*values: str | None) -> Matcher:
    return Matcher(" | ".join("(absent)" if value is None else value for value in values), lambda got: got in values)


def matching(pattern: str, words: str | None = None) -> Matcher:
    return Matcher(words or f"~ {pattern}", lambda got: got is not None and re.fullmatch(pattern, got) is not None)


def listing(*members: str) -> Matcher:
    """A comma-separated list with all of ``members`` in it, upper and lower case alike."""

    def missing(got: str | None) -> str:
        there = {item.strip().lower() for item in (got or "").split(",")}
        return ", ".join(member for member in members if member.lower() not in there)

    return Matcher("a list with " + ", ".join(members), lambda got: not missing(got), missing)


def without(text: str) -> Matcher:
    """Absent, or a value in which ``text`` does not occur."""
    return Matcher(f"nothing with {text}", lambda got: got is None or text not in got)


def at_most(limit: int) -> Matcher:
    return Matcher(f"a number <= {limit}", lambda got: got is not None and got.isdigit() and int(got) <= limit)


def status_words(status: Status) -> str:
    if isinstance(status, range):
        return f"{status.start // 100}xx"
    if isinstance(status, tuple) and len(status) > 50:
        return "4xx but " + ", ".join(str(code) for code in REFUSED if code not in status)
    return str(status) if isinstance(status, int) else " | ".join(str(code) for code in status)


def status_holds(status: Status, got: int) -> bool:
    allowed: Container[int] = (status,) if isinstance(status, int) else status
    return got in allowed


def header_words(expected: Expected) -> str:
    if expected is None:
        return "(absent)"
    if isinstance(expected, EllipsisType):
        return "(any)"
    return expected.words if isinstance(expected, Matcher) else str(expected)


def header_shown(expected: Expected, got: str | None) -> str:
    """The observed value, or what it lacks."""
    if got is None:
        return "(absent)"
    lacking = expected.lacks(got) if isinstance(expected, Matcher) and expected.lacks is not None else ""
    return f"without {lacking}" if lacking else got


def header_holds(expected: Expected, got: str | None) -> bool:
    if expected is None:
        return got is None
    if isinstance(expected, EllipsisType):
        return got is not None
    return expected.holds(got) if isinstance(expected, Matcher) else got == str(expected)
