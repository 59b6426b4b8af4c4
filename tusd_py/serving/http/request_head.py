"""Checks the head of a request before an application sees it. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: Browsers and proxies send about thirty; thousands are an attack on code that loops over them.
HEADERS_MAX = 256
#: What a header adds to a head besides its name and value.
FIELD_BYTES = len(b": \r\n")
# RFC 3986: a registered name, an IPv4 address or an IP literal, and a port. Without userinfo, path or space.
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-fv.:]+\])(?::[0-9]*)?\Z")


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How long a client may take to send the head of a request, and how large it may be."""

    header_timeout_seconds: float = 10.0
    header_bytes_max: int = 65536


class BadRequest(Exception):
    """No application sees this request: ``status`` is answered with ``sentence``, and the connection is closed."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


MALFORMED = BadRequest(400, "This is not an HTTP/1.1 request.")
TOO_LARGE = BadRequest(431, "The head of the request is too large.")
TOO_SLOW = BadRequest(408, "The head of the request took too long.")


class Framing(NamedTuple):
    """The framing of a message, from its head."""

    length: int = 0  # 0 for a chunked body as well
    is_chunked: bool = False
    expects_continue: bool = False
    trailers: frozenset[bytes] = frozenset()  # the declared names, in lower case


#: A request without a body.
NO_BODY = Framing()
_NO_TRAILERS: frozenset[bytes] = frozenset()
_NAMES = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect", b"trailer"})


def check(headers: Sequence[tuple[bytes, bytes]], http_version: str) -> Framing:
    """Return what ``headers`` (names in lower case) say of the message.

    Raises ``BadRequest`` for a head that two readers could understand differently.
    """
    hosts = encodings = 0
    declared: list[bytes] = []
    length = 0
    has_length = expects_continue = False
    for name, value in headers:
        if name not in _NAMES:
            continue
        if name == b"host":
            hosts += 1
            if _HOST.match(value.rstrip(b" \t")) is None:
                raise BadRequest(400, "The Host header is not a valid host.")
        elif name == b"content-length":
            has_length = True
            length = _length(value)
        elif name == b"transfer-encoding":
            encodings += 1
            # RFC 9112, 6.1: a body in another coding would be stored as it came over the wire, under a false length.
            if value.strip(b" \t").lower() != b"chunked":
                raise BadRequest(400, "The only supported transfer encoding is chunked.")
        elif name == b"expect":
            expects_continue = value.strip(b" \t").lower() == b"100-continue"
        elif name == b"trailer":
            declared += [trailer.strip(b" \t").lower() for trailer in value.split(b",")]
    # RFC 9112, 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that
    # lacks a Host header field and to any request message that contains more than one Host header field line".
    if hosts != 1 and (hosts or http_version == "1.1"):
        raise BadRequest(400, "A request needs exactly one Host header.")
    # RFC 9112, 6.1 and 6.3: a message with two lengths is how requests are smuggled past a proxy.
    if encodings and (encodings > 1 or has_length or http_version != "1.1"):
        raise BadRequest(400, "The length of the request is ambiguous.")
    if not (length or encodings or expects_continue):
        return NO_BODY
    # A body of known length has no trailers.
    trailers = frozenset(declared) if declared and encodings else _NO_TRAILERS
    return Framing(length, encodings > 0, expects_continue, trailers)


def _length(value: bytes) -> int:
    """Return the length in a ``Content-Length``, which the parser has checked but not stripped."""
    try:
        return int(value)
    except ValueError:
        raise BadRequest(400, "The length of the request is ambiguous.") from None


def size_of_head(target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> int:
    """Return the size of a head in bytes, without its method and version."""
    return len(target) + sum(len(name) + len(value) + FIELD_BYTES for name, value in headers)
