"""The headers of a request, and the syntax that several headers share: numbers, base64, media types, body length.

Headers with a syntax of their own have their own modules (``checksum``, ``concat``, ``metadata``).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from types import MappingProxyType

from tusd_py.model.caller import HeaderList
from tusd_py.protocol.errors import (
    InvalidChecksum,
    InvalidConcat,
    InvalidDeferLength,
    InvalidLength,
    InvalidMetadata,
    InvalidOffset,
    MalformedHeader,
    UnsupportedTransferEncoding,
)

#: The largest number of bytes that databases and file systems can store.
NUMBER_MAX = 2**63 - 1
#: The expectation that error messages state for a number.
A_NUMBER = f"a whole number from 0 to {NUMBER_MAX} in decimal digits"

# int() also accepts "+5", "1_000", " 5" and digits of other scripts. The limit on digits bounds its cost.
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_OWS = " \t"  # RFC 9110, 5.6.3: optional whitespace

#: Headers that may come only once, with their usual spelling and the error for a repetition. Given two values, a proxy
#: and this server might obey different ones.
SINGLETONS: Mapping[bytes, tuple[str, type[MalformedHeader]]] = MappingProxyType(
    {
        b"host": ("Host", MalformedHeader),
        b"tus-resumable": ("Tus-Resumable", MalformedHeader),
        b"x-http-method-override": ("X-HTTP-Method-Override", MalformedHeader),
        b"content-type": ("Content-Type", MalformedHeader),
        b"content-length": ("Content-Length", MalformedHeader),
        b"content-range": ("Content-Range", MalformedHeader),
        b"upload-offset": ("Upload-Offset", InvalidOffset),
        b"upload-length": ("Upload-Length", InvalidLength),
        b"upload-defer-length": ("Upload-Defer-Length", InvalidDeferLength),
        b"upload-metadata": ("Upload-Metadata", InvalidMetadata),
        b"upload-concat": ("Upload-Concat", InvalidConcat),
        b"upload-checksum": ("Upload-Checksum", InvalidChecksum),
        b"range": ("Range", MalformedHeader),
        b"if-range": ("If-Range", MalformedHeader),
        b"if-modified-since": ("If-Modified-Since", MalformedHeader),
        b"if-unmodified-since": ("If-Unmodified-Since", MalformedHeader),
    }
)


class Headers:
    """The headers of one request by lower-case name. Built once per request and only read after that.

    ``raw`` are the headers as the server received them.
    """

    __slots__ = ("_repeated", "_values", "raw")

    def __init__(self, raw: HeaderList) -> None:
        self.raw = raw
        self._values = dict(raw)
        self._repeated: frozenset[bytes] = frozenset()
        if len(self._values) != len(raw):
            self._combine(raw)

    def _combine(self, raw: HeaderList) -> None:
        """RFC 9110, 5.2: values of the same name are combined "in order, separated by a comma"."""
        by_name: dict[bytes, list[bytes]] = {}
        for name, value in raw:
            by_name.setdefault(name, []).append(value)
        self._values = {name: b", ".join(values) for name, values in by_name.items()}
        self._repeated = frozenset(name for name, values in by_name.items() if len(values) > 1)

    def __contains__(self, name: bytes) -> bool:
        return name in self._values

    def has_any(self, names: frozenset[bytes]) -> bool:
        """Whether there is at least one of ``names``."""
        return not names.isdisjoint(self._values)

    @property
    def has_repeats(self) -> bool:
        """Whether a header came more than once."""
        return bool(self._repeated)

    def get_bytes(self, name: bytes) -> bytes | None:
        """The value as received, or None; several values are combined with commas."""
        return self._values.get(name)

    def get(self, name: bytes) -> str | None:
        """The value as Latin-1 text without surrounding whitespace; otherwise as ``get_bytes``."""
        value = self._values.get(name)
        return None if value is None else value.decode("latin-1").strip(_OWS)

    def one(self, name: bytes) -> str | None:
        """As ``get``, for a header in ``SINGLETONS``. Raises ``MalformedHeader`` if it came more than once."""
        if name in self._repeated:
            raise repeated(name)
        return self.get(name)

    def refuse_repeats(self) -> None:
        """Raise ``MalformedHeader`` if a header in ``SINGLETONS`` came more than once."""
        for name in self._repeated:
            if name in SINGLETONS:
                raise repeated(name)


def repeated(name: bytes) -> MalformedHeader:
    """The error for a header in ``SINGLETONS`` that came more than once."""
    header, error = SINGLETONS[name]
    return error(header, "one value; it came more than once")


def parse_number(text: str) -> int | None:
    """Parse decimal digits without sign, spaces or leading zeros; None if invalid or above ``NUMBER_MAX``."""
    if _NUMBER.fullmatch(text) is None:
        return None
    number = int(text)
    return number if number <= NUMBER_MAX else None


def parse_base64(text: str) -> bytes | None:
    """Decode base64 with the standard alphabet and padding (RFC 4648, section 4); None if invalid."""
    try:
        # By default, characters outside the alphabet are silently skipped.
        value = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    # Before Python 3.13 strict mode accepts padding that nothing requires.
    return value if len(text) == (len(value) + 2) // 3 * 4 else None


def format_base64(value: bytes) -> str:
    """``value`` in base64 with the standard alphabet and padding."""
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def parse_media_type(text: str) -> str:
    """The media type without parameters, in lower case (RFC 9110, 8.3.1: "case-insensitive")."""
    return text.partition(";")[0].rstrip(_OWS).lower()


def parse_body_length(headers: Headers) -> int | None:
    """The ``Content-Length`` of the body in bytes; None if the body is chunked or there is none.

    Raises ``MalformedHeader``, or ``UnsupportedTransferEncoding`` for codings that some HTTP servers leave undecoded.
    """
    text = headers.one(b"content-length")
    coding = headers.get(b"transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked":
            raise UnsupportedTransferEncoding
        if text is not None:
            # RFC 9112, 6.1: both together "might indicate an attempt to perform request smuggling".
            raise MalformedHeader("Content-Length", "no value beside Transfer-Encoding")
    if text is None:
        return None
    length = parse_number(text)
    if length is None:
        raise MalformedHeader("Content-Length", A_NUMBER)
    return length
