"""The query of a request to the API: every parameter is known, given once unless it may be repeated, and valid."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar
from urllib.parse import parse_qsl

from tusd_py.model.text import valid_unicode
from tusd_py.web.api.cursors import LIMIT_DEFAULT, LIMIT_MAX, NUMBER_MAX
from tusd_py.web.api.problems import ApiError

_Choice = TypeVar("_Choice", bound=StrEnum)

_PARAMETERS_MAX = 100
_TEXT_CHARACTERS_MAX = 1024


class ApiQuery:
    """The parameters of a query. All methods raise ``ApiError`` with a sentence for an invalid value."""

    def __init__(self, query: bytes, known: Collection[str]) -> None:
        try:
            pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_PARAMETERS_MAX)
        except ValueError:
            raise ApiError(400, f"a query may have at most {_PARAMETERS_MAX} parameters") from None
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            if name not in known:
                names = f"it knows {', '.join(known)}" if known else "it knows none"
                raise ApiError(400, f"this resource does not know the query parameter {_excerpt(name)}; {names}")
            self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, characters_max: int = _TEXT_CHARACTERS_MAX) -> str:
        """The value as it is; empty if the parameter is absent."""
        value = self._one(name) or ""
        if len(value) > characters_max:
            raise ApiError(400, f"{name} may have at most {characters_max} characters")
        if value != valid_unicode(value):
            raise ApiError(400, f"{name} contains a character that no text may have")
        return value

    def number(self, name: str, default: int, most: int = NUMBER_MAX, *, least: int = 0) -> int:
        """A whole number from ``least`` to ``most``."""
        text = self._one(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdecimal() and len(text) <= 19 and least <= int(text) <= most):
            raise ApiError(400, f"{name} must be a whole number from {least} to {most}")
        return int(text)

    def limit(self) -> int:
        """How many rows a page may have: never 0, because an empty page would look like the last one."""
        return self.number("limit", LIMIT_DEFAULT, LIMIT_MAX, least=1)

    def flag(self, name: str) -> bool | None:
        """``true`` or ``false``; ``None`` if the parameter is absent."""
        text = self._one(name)
        if text not in (None, "true", "false"):
            raise ApiError(400, f"{name} must be true or false")
        return None if text is None else text == "true"

    def choices(self, name: str, enum: type[_Choice]) -> list[_Choice]:
        """The members of ``enum`` that a parameter names, which may be repeated; empty if it is absent."""
        values = dict.fromkeys(self._values.get(name, ()))
        if not set(values) <= set(enum):
            raise ApiError(400, f"{name} must be one of {', '.join(enum)}")
        return [enum(value) for value in values]

    def instant(self, name: str) -> datetime | None:
        """A time or a date in ISO 8601; without a zone it is in UTC. ``None`` if the parameter is absent."""
        text = self._one(name)
        if text is None:
            return None
        try:
            # A plus sign that the client has not escaped has become a space.
            at = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ApiError(400, f"{name} must be a date or a time such as 2026-01-31T12:00:00Z") from None

    def _one(self, name: str) -> str | None:
        values = self._values.get(name)
        if values is not None and len(values) > 1:
            raise ApiError(400, f"{name} was given {len(values)} times; give it once")
        return values[0] if values else None


def _excerpt(name: str) -> str:
    return ascii(valid_unicode(name)[:40])
