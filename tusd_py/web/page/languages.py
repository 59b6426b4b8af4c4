"""Chooses the language of the page from ``Accept-Language`` (RFC 9110, 12.5.4)."""

from __future__ import annotations

import re
from collections.abc import Sequence

# language-range [ weight ]: RFC 4647, 2.1, and RFC 9110, 12.4.2.
_RANGE = re.compile(
    r"\s*(?P<primary>[A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9]{1,8})*\s*(?:;\s*[qQ]=(?P<weight>0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?",
    re.ASCII,
)
# Browsers send about ten; the rest of a longer list is not read.
_RANGES_MAX = 50


def choose_language(accept_language: str, available: Sequence[str]) -> str:
    """The language of ``available`` that the client likes most; the first one if it accepts none of them.

    Only primary languages count: ``de-AT`` asks for ``de``. Of equal weights the one that the client lists first wins.
    Items with invalid syntax are ignored.
    """
    weights: dict[str, float] = {}
    for item in accept_language.split(",", _RANGES_MAX)[:_RANGES_MAX]:
        match = _RANGE.fullmatch(item)
        if match is not None:
            primary = match["primary"].lower()
            weights[primary] = max(weights.get(primary, 0.0), float(match["weight"] or 1))
    listed = list(weights)

    def preference(language: str) -> tuple[float, int]:
        named = language if language in weights else "*"
        return (weights.get(named, 0.0), -listed.index(named) if named in weights else 0)

    best = max(available, key=preference)
    return best if preference(best)[0] > 0 else available[0]
