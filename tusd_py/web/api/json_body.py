"""The JSON body of a request to the API: bounded in bytes, depth and time, and read member by member."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from tusd_py.model.principal import TYPE_PATTERN
from tusd_py.model.text import valid_unicode
from tusd_py.web.api.cursors import NUMBER_MAX
from tusd_py.web.api.problems import ApiError

BODY_BYTES_MAX = 64 * 1024
BODY_SECONDS = 10.0
#: The value of a member that stands for what the settings say.
DEFAULT = "default"
_DEPTH_MAX = 8
_TEXT_CHARACTERS_MAX = 1024


class JsonBody:
    """The members of a JSON object. A member that is null counts as absent; ``None`` as default requires it.

    All methods raise ``ApiError`` with a sentence for an invalid value.
    """

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members = members

    def only(self, *names: str) -> JsonBody:
        """Refuse members with other names: a misspelt one must not be ignored."""
        for name in self._members:
            if name not in names:
                known = f"it may have {', '.join(names)}" if names else "it may have none"
                raise ApiError(400, f"this body may not have the member {name[:40]!a}; {known}")
        return self

    def __contains__(self, name: str) -> bool:
        return self._members.get(name) is not None

    def has(self, name: str) -> bool:
        """Whether there is a member with this name, null or not."""
        return name in self._members

    def is_default(self, name: str) -> bool:
        """Whether the member asks for what the settings say."""
        return bool(self._members.get(name) == DEFAULT)

    def limit(self, name: str) -> int | None:
        """A whole number, or ``None`` for a member that is null: no limit."""
        if self._members.get(name) is None:
            return None
        number = _whole(self._members[name])
        if number is None or not 0 <= number <= NUMBER_MAX:
            raise ApiError(400, f'{name} must be a whole number from 0 to {NUMBER_MAX}, null or "{DEFAULT}"')
        return number

    def text(self, name: str, default: str | None = None, *, characters_max: int = _TEXT_CHARACTERS_MAX) -> str:
        value = self._value(name, default)
        if not isinstance(value, str):
            raise ApiError(400, f"{name} must be a text")
        return _checked(name, value, characters_max)

    def texts(self, name: str, default: Sequence[str] | None = None, *, items_max: int = 100) -> list[str]:
        """A list of texts."""
        values = self._value(name, default)
        if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
            raise ApiError(400, f"{name} must be a list of texts")
        if len(values) > items_max:
            raise ApiError(400, f"{name} may have at most {items_max} entries")
        return [_checked(name, value, _TEXT_CHARACTERS_MAX) for value in values]

    def media_types(self, name: str, default: Sequence[str] | None = None, *, items_max: int) -> tuple[str, ...]:
        """A list of media types, which may have wildcards."""
        values = self.texts(name, default, items_max=items_max)
        if not all(TYPE_PATTERN.fullmatch(value) for value in values):
            raise ApiError(400, f"{name} must be a list of media types such as image/png or image/*")
        return tuple(values)

    def text_map(self, name: str, default: Mapping[str, str] | None = None, *, items_max: int = 100) -> dict[str, str]:
        """An object whose members are texts."""
        values = self._value(name, default)
        if not isinstance(values, Mapping) or not all(isinstance(value, str) for value in values.values()):
            raise ApiError(400, f"{name} must be an object whose members are texts")
        if len(values) > items_max:
            raise ApiError(400, f"{name} may have at most {items_max} members")
        texts = {_checked(name, key, _TEXT_CHARACTERS_MAX): value for key, value in values.items()}
        return {key: _checked(name, value, BODY_BYTES_MAX) for key, value in texts.items()}

    def number(self, name: str, default: int | None = None, *, least: int = 0, most: int = NUMBER_MAX) -> int:
        """A whole number."""
        value = _whole(self._value(name, default))
        if value is None or not least <= value <= most:
            raise ApiError(400, f"{name} must be a whole number from {least} to {most}")
        return value

    def numbers(self, name: str, *, items_max: int, most: int = NUMBER_MAX) -> list[int]:
        """A list of whole numbers."""
        values = self._value(name, None)
        if isinstance(values, list) and len(values) > items_max:
            raise ApiError(400, f"{name} may have at most {items_max} entries")
        numbers = [_whole(value) for value in values] if isinstance(values, list) else [None]
        found = [number for number in numbers if number is not None and 0 <= number <= most]
        if len(found) < len(numbers):
            raise ApiError(400, f"{name} must be a list of whole numbers from 0 to {most}")
        return found

    def flag(self, name: str, default: bool | None = None) -> bool:
        value = self._value(name, default)
        if not isinstance(value, bool):
            raise ApiError(400, f"{name} must be true or false")
        return value

    def choice(self, name: str, known: Collection[str], default: str | None = None) -> str:
        """One of the ``known`` texts."""
        value = self._value(name, default)
        if not isinstance(value, str) or value not in known:
            raise ApiError(400, f"{name} must be one of {', '.join(known)}")
        return value

    def instant(self, name: str, default: datetime | None = None) -> datetime:
        """A time in ISO 8601; without a zone it is in UTC."""
        value = self._value(name, default)
        if isinstance(value, datetime):
            return value
        try:
            if not isinstance(value, str):
                raise ValueError
            at = datetime.fromisoformat(value)
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ApiError(400, f"{name} must be a time such as 2026-01-31T12:00:00Z") from None

    def _value(self, name: str, default: object) -> object:
        value = self._members.get(name)
        if value is None:
            value = default
        if value is None:
            raise ApiError(400, f"the body must have the member {name}")
        return value


async def read_json(request: Request) -> JsonBody:
    """The body of ``request``, which must be a JSON object. Raises ``ApiError``."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ApiError(415, "the body must be JSON, with Content-Type: application/json")
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise ApiError(415, "the body must not be compressed")
    return JsonBody(_parse(await _read(request)))


async def _read(request: Request) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdecimal() and (len(announced) > 18 or int(announced) > BODY_BYTES_MAX):
        _refuse_size()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > BODY_BYTES_MAX:
                    _refuse_size()
    except TimeoutError:
        raise ApiError(408, f"the body did not arrive within {BODY_SECONDS:g} seconds") from None
    except ClientDisconnect:
        raise ApiError(400, "the connection was closed before the end of the body") from None
    return bytes(body)


def _refuse_size() -> NoReturn:
    raise ApiError(413, f"the body may have at most {BODY_BYTES_MAX} bytes")


def _parse(body: bytes) -> dict[str, Any]:
    try:
        # A byte order mark is not JSON, and other encodings than UTF-8 are not either (RFC 8259, 8.1).
        content = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is not valid JSON in UTF-8 with unique names") from None
    if not isinstance(content, dict):
        raise ApiError(400, "the body must be a JSON object")
    _ensure_shallow(content)
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError
    return members


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError  # NaN and Infinity


def _ensure_shallow(content: object) -> None:
    level: Iterable[object] = [content]
    for _depth in range(_DEPTH_MAX):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise ApiError(400, f"the body may be nested at most {_DEPTH_MAX} deep")


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _whole(value: object) -> int | None:
    """``value`` if it is a whole number; JSON has one kind of numbers, so 5.0 is one too."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _checked(name: str, value: str, characters_max: int) -> str:
    if len(value) > characters_max:
        raise ApiError(400, f"{name} may have at most {characters_max} characters")
    if value != valid_unicode(value):
        raise ApiError(400, f"{name} contains a character that no text may have")
    return value
