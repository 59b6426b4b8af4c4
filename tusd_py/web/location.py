"""The URL of the collection for ``Location``: from the settings, from trusted proxies' headers, or a path.

``Host`` and the forwarding headers of an untrusted peer are never used. Of the two conventions for forwarding headers
only the configured one is believed: a proxy that sets one of them passes on what the client sent of the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple
from urllib.parse import quote

from starlette.types import Scope

from tusd_py.model.addresses import Network, parse_address
from tusd_py.protocol.headers import Headers

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?\Z")
_PAIR = re.compile(r'\s*([A-Za-z0-9!#$%&\'*+.^_`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*(;|,|\Z)')
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Forwarded(NamedTuple):
    """What trusted proxies say about the request that the client sent; empty where they say nothing."""

    host: str = ""
    proto: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locator:
    """Builds the URL of the collection as the client of a request sees it, with a slash at its end."""

    public_url: str = ""
    trusted_proxies: Sequence[Network] = ()
    forwarded_headers: Literal["x-forwarded", "forwarded"] = "x-forwarded"

    def collection(self, scope: Scope, path: str, headers: Headers) -> str:
        """Return the URL; ``path`` is the path of the collection including every prefix that it is mounted under."""
        if self.public_url:
            return self.public_url.rstrip("/") + "/"
        # The server has decoded the path; the name of a mount may need encoding in a URL.
        path = quote(path.rstrip("/")) + "/"
        if not self.trusted_proxies:
            return path
        seen = self.forwarded(scope, headers)
        if seen.prefix and _PREFIX.match(seen.prefix):
            path = seen.prefix.rstrip("/") + path
        return _absolute(seen.proto, seen.host, path) or path

    def forwarded(self, scope: Scope, headers: Headers) -> Forwarded:
        """What trusted proxies say about the request, by the convention that is believed."""
        if not self.trusted_proxies or not self._is_trusted(scope.get("client")):
            return Forwarded()
        if self.forwarded_headers == "forwarded":
            return _forwarded(headers, self._is_trusted_address)
        return _x_forwarded(headers)

    def _is_trusted(self, client: Sequence[object] | None) -> bool:
        # A peer on a unix socket has passed the permissions of the socket file.
        return client is None or self._is_trusted_address(str(client[0]))

    def _is_trusted_address(self, text: str) -> bool:
        address = parse_address(text)
        return address is not None and any(address in network for network in self.trusted_proxies)


def _forwarded(headers: Headers, is_trusted: Callable[[str], bool]) -> Forwarded:
    """RFC 7239. Each proxy appends an element. Use the right-most one whose ``for`` is not a trusted proxy."""
    hops = parse_forwarded(headers.get(b"forwarded") or "")
    chosen: dict[str, str] = {}
    for hop in reversed(hops):
        chosen = hop
        if not is_trusted(_address(hop.get("for", ""))):
            break
    return Forwarded(chosen.get("host", ""), chosen.get("proto", ""))


def _address(node: str) -> str:
    """The address in a node identifier. RFC 7239, 6: IPv6 stands in brackets; a port may follow."""
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0]


def parse_forwarded(text: str) -> list[dict[str, str]]:
    """The elements of a Forwarded header; an empty list if any part of it is malformed."""
    hops: list[dict[str, str]] = [{}]
    position = 0
    while position < len(text):
        pair = _PAIR.match(text, position)
        if pair is None:
            return []
        value = pair[3] if pair[2] is None else re.sub(r"\\(.)", r"\1", pair[2])
        hops[-1][pair[1].lower()] = value
        position = pair.end()
        if pair[4] == ",":
            hops.append({})
    return hops if hops[0] else []


def _x_forwarded(headers: Headers) -> Forwarded:
    """The older X-Forwarded-* headers. Each is a list whose right-most entry was added by the trusted peer."""
    host, proto, prefix = (
        (headers.get(name) or "").rpartition(",")[2].strip()
        for name in (b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-prefix")
    )
    return Forwarded(host, proto or "http", prefix)


def _absolute(proto: str, host: str, path: str) -> str | None:
    proto = proto.lower()
    if proto not in _DEFAULT_PORTS or not _HOST.match(host):
        return None
    return f"{proto}://{host.removesuffix(_DEFAULT_PORTS[proto])}{path}"
