"""The address by which limits for each client count it: its own, or the one that trusted proxies forward.

IPv6 clients count by their /64, since one of them usually has all of it. The key is empty where the address is unknown:
such clients cannot be told apart, so limits for each client do not apply to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

from tusd_py.protocol.headers import Headers

#: Forwarded addresses of one header that are looked at, from the right: a chain of trusted proxies is short.
_HOPS_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAddresses:
    """Finds the key of a client. ``trusted_proxies`` are never counted as clients themselves if they forward one."""

    trusted_proxies: Sequence[IPv4Network | IPv6Network] = ()

    def key(self, scope: Scope, headers: Headers) -> str:
        """The key of the client that sent this request."""
        client = scope.get("client")
        if not self.trusted_proxies:
            return _key(str(client[0])) if client else ""
        # A peer on a unix socket has passed the permissions of the socket file.
        if client is not None and not self._is_trusted(str(client[0])):
            return _key(str(client[0]))
        hops = (headers.get(b"x-forwarded-for") or "").rsplit(",", _HOPS_MAX)[-_HOPS_MAX:]
        found = ""
        # Each proxy appends the address of its own peer: all before the first one that is not trusted may be invented.
        for hop in reversed(hops):
            found = _without_port(hop.strip())
            if not self._is_trusted(found):
                break
        return _key(found)

    def connection_key(self, peer: str | None) -> str:
        """The key of a connection from ``peer``: empty for trusted proxies and on unix sockets."""
        return "" if peer is None or self._is_trusted(peer) else _key(peer)

    def _is_trusted(self, text: str) -> bool:
        if not self.trusted_proxies:
            return False
        address = _parsed(text)
        return address is not None and any(address in network for network in self.trusted_proxies)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=4096)
def _key(text: str) -> str:
    address = _parsed(text)
    if address is None:
        return ""
    return str(IPv6Network((int(address), 64), strict=False)) if isinstance(address, IPv6Address) else str(address)


def _without_port(node: str) -> str:
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0] if node.count(":") == 1 else node
