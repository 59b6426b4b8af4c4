"""The ``Upload-Metadata`` header: keys with base64 values. The server stores and echoes the header as received."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from tusd_py.protocol.errors import InvalidMetadata
from tusd_py.protocol.headers import format_base64, parse_base64

# Creation: "The key MUST NOT contain spaces and commas and MUST NOT be empty. The key SHOULD be ASCII encoded".
# Control characters are excluded as well, because the header is echoed as received.
_KEY = re.compile(r"[!-+\--~]+")

#: The keys of widely used clients, which need not be examined: a third of the time that a header takes.
_USUAL_KEYS = frozenset({"filename", "filetype", "name", "type", "relativePath", "contentType"})


def parse_metadata(header: str | None) -> dict[str, bytes]:
    """The decoded values by key, in order. Raises ``InvalidMetadata``.

    An empty header counts as absent: a widely used client sends it empty when there is no metadata.
    """
    if not header:
        return {}
    metadata: dict[str, bytes] = {}
    for pair in header.split(","):
        key, _, encoded = pair.strip(" \t").partition(" ")
        if key not in _USUAL_KEYS and _KEY.fullmatch(key) is None:
            raise InvalidMetadata("Upload-Metadata", "keys of visible ASCII characters, each followed by its value")
        # "All keys MUST be unique".
        if key in metadata:
            raise InvalidMetadata("Upload-Metadata", "every key once")
        value = parse_base64(encoded) if encoded else b""
        if value is None:
            raise InvalidMetadata("Upload-Metadata", "after each key one space and its value in padded base64")
        metadata[key] = value
    return metadata


# A creation looks at its metadata three times, one soon after the other: to check, to record and to log it.
@lru_cache(maxsize=64)
def read_metadata(header: str) -> Mapping[str, bytes]:
    """As ``parse_metadata``, of which it remembers the newest results."""
    return MappingProxyType(parse_metadata(header))


def declared_type(metadata: Mapping[str, bytes]) -> str:
    """The media type that a client declares, in lower case and without parameters; empty if it declares none."""
    media_type = next((metadata[key] for key in ("filetype", "type", "contentType") if metadata.get(key)), b"")
    return media_type.decode("latin-1").partition(";")[0].strip().lower()


def format_metadata(metadata: Mapping[str, bytes]) -> str:
    """``metadata`` as a header value. Raises ``InvalidMetadata`` for a key that the grammar does not allow."""
    pairs = []
    for key, value in metadata.items():
        if _KEY.fullmatch(key) is None:
            raise InvalidMetadata("Upload-Metadata", "keys of visible ASCII characters without spaces and commas")
        pairs.append(f"{key} {format_base64(value)}" if value else key)
    return ",".join(pairs)
