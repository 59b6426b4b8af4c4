"""Recognises the head of a request that is like an earlier one of its connection, without parsing it again.

A client that keeps its connection repeats itself: the heads of its requests differ in a few values, such as the length
and the metadata of an upload. If a head equals one that the parser has accepted, but for values that mean nothing to
HTTP, the parser would accept it too, and what was decided about the other headers holds again. This spares a small
request half of the time until the application begins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from tusd_py.serving.http.scope import Target

#: Longer heads are always parsed.
HEAD_BYTES_MAX = 4096
_LINE_END = b"\r\n"


class KnownHead:
    """The head of a request without a body that was accepted, of which the values of some headers may differ."""

    __slots__ = ("_bytes_max", "_headers", "_lines", "_places", "_request_line", "_values", "method", "target")

    def __init__(
        self,
        method: str,
        target: Target,
        headers: list[tuple[bytes, bytes]],
        lines: list[bytes],
        places: tuple[tuple[int, bytes], ...],
        bytes_max: int,
    ) -> None:
        self.method = method
        self.target = target
        self._headers = headers
        self._bytes_max = bytes_max
        self._lines = lines  # those of ``places`` without their values
        self._request_line = lines[0] + _LINE_END
        self._values = _values(len(places))
        self._places = places  # the number of each line that may differ, and what stands before its value

    @classmethod
    def of(
        cls,
        data: bytes,
        method: str,
        target: Target,
        headers: list[tuple[bytes, bytes]],
        names: Sequence[bytes],
        bytes_max: int = HEAD_BYTES_MAX,
    ) -> KnownHead | None:
        """The head in ``data``, which is one request that the parser has accepted and read as these values.

        ``names`` are those of the headers that may differ, in lower case: neither the parser nor ``request_head`` looks
        at their values. Heads of more than ``bytes_max`` bytes are not recognised. ``None`` if it is longer, if it
        lacks one of the headers, or if its lines are not simply one for each header.
        """
        lines = data.split(_LINE_END)
        bytes_max = min(bytes_max, HEAD_BYTES_MAX)
        if len(data) > bytes_max or len(lines) != len(headers) + 3 or lines[-2:] != [b"", b""]:
            return None
        places = []
        for wanted in names:
            found = [number for number, (name, _) in enumerate(headers, 1) if name == wanted]
            if len(found) != 1:
                return None
            (number,) = found
            before, colon, after = lines[number].partition(b":")
            value = headers[number - 1][1]
            if before.lower() != wanted or after not in (value, b" " + value):
                return None
            lines[number] = before + colon + after.removesuffix(value)
            places.append((number, lines[number]))
        return cls(method, target, headers, lines, tuple(places), bytes_max)

    def values_in(self, data: bytes) -> Sequence[str] | None:
        """The values of the headers that may differ, if ``data`` is one request with a head that is else the same.

        They are visible ASCII, with spaces between other characters only: a value that every parser accepts and none
        changes.
        """
        if len(data) > self._bytes_max or not data.startswith(self._request_line):
            return None
        lines = data.split(_LINE_END)
        if len(lines) != len(self._lines):
            return None
        values = []
        for number, before in self._places:
            line = lines[number]
            values.append(line[len(before) :])
            # Without the value it has to be what stands there in the known head, as all other lines.
            lines[number] = line[: len(before)]
        if lines != self._lines:
            return None
        found = self._values.fullmatch(b"\n".join(values).decode("latin-1"))
        return None if found is None else found.groups()

    def headers_with(self, values: Sequence[str]) -> list[tuple[bytes, bytes]]:
        """The headers of a request with these ``values_in``, as the parser reads them."""
        headers = self._headers.copy()
        for (number, _), value in zip(self._places, values, strict=True):
            headers[number - 1] = headers[number - 1][0], value.encode("ascii")
        return headers


@lru_cache(maxsize=8)
def _values(count: int) -> re.Pattern[str]:
    """Matches as many values, one on each line."""
    return re.compile("\n".join([r"([!-~](?:[ -~]*[!-~])?)"] * count))
