"""What must be true of the head of a request before an application sees it. Pure; nothing here knows a connection."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

#: Browsers and proxies send some thirty; thousands are an attack on whoever loops over them.
HEADERS_MAX = 256
#: What a header adds to a head beside its name and value.
FIELD_BYTES = len(b": \r\n")
# RFC 3986: a registered name, an IPv4 address or an IP literal, and a port. Without userinfo, path or space.
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-fv.:]+\])(?::[0-9]*)?\Z")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a client may take before a request is the application's affair."""

    header_timeout_seconds: float = 10.0
    header_bytes_max: int = 65536


class Refused(Exception):
    """No application shall see this request: ``status`` is answered with ``sentence``, and the connection closed."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


MALFORMED = Refused(400, "This is no HTTP/1.1 request.")
TOO_LARGE = Refused(431, "The head of the request is too large.")
TOO_SLOW = Refused(408, "The head of the request took too long.")


@dataclass(frozen=True, slots=True)
class Framing:
    """What a head says of the message it begins."""

    expects_continue: bool = False
    trailers: frozenset[bytes] = frozenset()  # the names that were declared, in lower case


_PLAIN = Framing()
_NAMES = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect", b"trailer"})


def examine(headers: Sequence[tuple[bytes, bytes]], http_version: str) -> Framing:
    """What ``headers`` (names in lower case) say of the message. Raises ``Refused`` where two readers could differ."""
    hosts = encodings = 0
    declared: list[bytes] = []
    has_length = expects_continue = False
    for name, value in headers:
        if name not in _NAMES:
            continue
        if name == b"host":
            hosts += 1
            if _HOST.match(value.rstrip(b" \t")) is None:
                raise Refused(400, "The Host header names no host.")
        elif name == b"content-length":
            has_length = True
        elif name == b"transfer-encoding":
            encodings += 1
            # RFC 9112, 6.1: what is coded otherwise would be stored as it came over the wire, under a false length.
            if value.strip(b" \t").lower() != b"chunked":
                raise Refused(400, "The only transfer encoding understood is chunked.")
        elif name == b"expect":
            expects_continue = value.strip(b" \t").lower() == b"100-continue"
        elif name == b"trailer":
            declared += [trailer.strip(b" \t").lower() for trailer in value.split(b",")]
    # RFC 9112, 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that
    # lacks a Host header field and to any request message that contains more than one Host header field line".
    if hosts != 1 and (hosts or http_version == "1.1"):
        raise Refused(400, "A request needs one Host header.")
    # RFC 9112, 6.1 and 6.3: the two lengths of a message in doubt are how requests are smuggled past a proxy.
    if encodings and (encodings > 1 or has_length or http_version != "1.1"):
        raise Refused(400, "The length of the request is in doubt.")
    if not (expects_continue or declared):
        return _PLAIN
    # A body of known length has no trailers.
    return Framing(expects_continue, frozenset(declared if encodings else ()))


def size_of_head(target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> int:
    """How many bytes a head takes, but for its method and version."""
    return len(target) + sum(len(name) + len(value) + FIELD_BYTES for name, value in headers)
