"""Opaque cursors for keyset pagination: where the next page of a list begins.

A list with a cursor stays fast however long it is, and shows no row twice when rows are added meanwhile.
"""

from __future__ import annotations

import base64
import binascii
import json

from tusd_py.model.text import valid_unicode
from tusd_py.web.api.problems import ApiError

#: The most rows in one response.
LIMIT_MAX = 1000
LIMIT_DEFAULT = 100

_CURSOR_CHARACTERS_MAX = 2048
#: The largest row number of the database.
NUMBER_MAX = 2**63 - 1


def format_cursor(kind: str, *key: int | str) -> str:
    """The cursor of a list of this ``kind`` that goes on after the row with ``key``."""
    text = json.dumps([kind, *key], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode("ascii").rstrip("=")


def parse_cursor(text: str, kind: str, *types: type[int] | type[str]) -> list[int | str]:
    """The key in a cursor of this ``kind``, whose values have these types. Raises ``ApiError``.

    Nothing in a cursor is trusted: a client that makes one up gets another place in the same list.
    """
    try:
        if len(text) > _CURSOR_CHARACTERS_MAX or not text.isascii():
            raise ValueError
        content = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        if not isinstance(content, list) or not content:
            raise ValueError
        given, key = content[0], content[1:]
        if given != kind or [type(value) for value in key] != list(types):
            raise ValueError
        if any(_is_impossible(value) for value in key):
            raise ValueError
    except (ValueError, binascii.Error, RecursionError):
        raise ApiError(400, "cursor must be the value of next in the page before, of the same list") from None
    return key


def _is_impossible(value: int | str) -> bool:
    if isinstance(value, int):
        return not 0 <= value <= NUMBER_MAX
    return value != valid_unicode(value)
