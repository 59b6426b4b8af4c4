"""The URL of the collection for ``Location``: from the settings, trusted proxies' headers, ``Host``, or a path.

``Host`` is used only for a direct request: no header shows a proxy or a browser, and its port is the one that the
client has connected to. Some clients outside of browsers cannot resolve a path. Of the two conventions for forwarding
headers only the configured one is used: a proxy that sets one of them passes on what the client sent of the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from tusd_py.model.addresses import Network, parse_address
from tusd_py.protocol.headers import Headers
from tusd_py.web.intermediaries import PROXY_HEADERS

# Names of machines in private networks have underscores, although names in DNS must not.
_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?\Z")
# RFC 3986, 3.3: the characters of a path segment.
_PREFIX = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)*/?\Z")
_PAIR = re.compile(r'\s*([A-Za-z0-9!#$%&\'*+.^_`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*(;|,|\Z)')
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
#: Browsers send these. They resolve a path themselves, and may know the server by a name that it does not know.
_BROWSER_HEADERS = frozenset({b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"})
_INDIRECT_HEADERS = PROXY_HEADERS | _BROWSER_HEADERS


class Forwarded(NamedTuple):
    """Scheme, host and prefix of the client's request, by trusted proxies; empty where they do not say."""

    host: str = ""
    proto: str = ""
    prefix: str = ""


class CollectionAddress(NamedTuple):
    """Where a client finds the collection: its URL, absolute or a path, and its decoded path. Both end in a slash."""

    url: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Locator:
    """Finds the address of the collection as the client of a request sees it."""

    public_url: str = ""
    location: Literal["auto", "path", "absolute"] = "auto"
    trusted_proxies: Sequence[Network] = ()
    forwarded_headers: Literal["x-forwarded", "forwarded"] = "x-forwarded"

    def collection(self, scope: Mapping[str, Any], path: str, headers: Headers) -> CollectionAddress:
        """Return the address; ``path`` is the path of the collection including every prefix that it is mounted under.

        The server has decoded ``path``. Of ``scope`` both ends of the connection and the version are enough.
        """
        if self.public_url:
            return _address(self.public_url.rstrip("/") + "/")
        seen = self.forwarded(scope, headers)
        prefix = seen.prefix.rstrip("/") if seen.prefix and _PREFIX.match(seen.prefix) else ""
        host, proto = seen.host, seen.proto
        if not proto and host and self.forwarded_headers == "x-forwarded":
            proto = "http"
        if self.location == "path":
            host = ""
        elif not host and self.location == "absolute":
            host, proto = headers.get(b"host") or "", proto or scope["scheme"]
        elif not host and (direct := _direct_host(scope, headers)):
            host, proto = direct, proto or scope["scheme"]
        return _located(proto, host, prefix, path)

    def forwarded(self, scope: Mapping[str, Any], headers: Headers) -> Forwarded:
        """Scheme, host and prefix of the client's request, by the forwarding headers of trusted proxies."""
        if not self.trusted_proxies or not self._is_trusted(scope.get("client")):
            return _NOTHING
        if self.forwarded_headers == "forwarded":
            return _forwarded(headers, self._is_trusted_address)
        return _x_forwarded(headers)

    def _is_trusted(self, client: Sequence[object] | None) -> bool:
        # A peer on a unix socket has passed the permissions of the socket file.
        return client is None or self._is_trusted_address(str(client[0]))

    def _is_trusted_address(self, text: str) -> bool:
        address = parse_address(text)
        return address is not None and any(address in network for network in self.trusted_proxies)


_NOTHING = Forwarded()


def _direct_host(scope: Mapping[str, Any], headers: Headers) -> str:
    """Host, if the client, no browser, seems to be connected to this server itself; else nothing."""
    host, server = headers.get_bytes(b"host"), scope.get("server")
    if host is None or server is None or headers.has_any(_INDIRECT_HEADERS) or scope.get("http_version") != "1.1":
        return ""
    return _with_port(host, scope["scheme"], server[1])


@lru_cache(maxsize=1024)
def _with_port(value: bytes, scheme: str, port: int | None) -> str:
    """The Host in ``value`` if it is valid and has this port, by default that of ``scheme``; else nothing."""
    host = value.decode("latin-1").strip(" \t")
    match = _HOST.match(host)
    named = match and (f":{match[1]}" if match[1] else _DEFAULT_PORTS.get(scheme))
    return host if named == f":{port}" else ""


@lru_cache(maxsize=1024)
def _located(proto: str, host: str, prefix: str, path: str) -> CollectionAddress:
    # The name of a mount may need encoding in a URL.
    encoded = prefix + quote(path.rstrip("/")) + "/"
    return _address(_absolute(proto, host, encoded) or encoded)


@lru_cache(maxsize=1024)
def _address(url: str) -> CollectionAddress:
    return CollectionAddress(url, unquote(urlsplit(url).path))


def _forwarded(headers: Headers, is_trusted: Callable[[str], bool]) -> Forwarded:
    """RFC 7239. Each proxy appends an element. Use the right-most one whose ``for`` is not a trusted proxy."""
    hops = parse_forwarded(headers.get(b"forwarded") or "")
    chosen: dict[str, str] = {}
    for hop in reversed(hops):
        chosen = hop
        if not is_trusted(_node_address(hop.get("for", ""))):
            break
    return Forwarded(chosen.get("host", ""), chosen.get("proto", ""))


def _node_address(node: str) -> str:
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
    return Forwarded(host, proto, prefix)


def _absolute(proto: str, host: str, path: str) -> str | None:
    proto = proto.lower()
    if proto not in _DEFAULT_PORTS or not _HOST.match(host):
        return None
    return f"{proto}://{host.removesuffix(_DEFAULT_PORTS[proto])}{path}"
