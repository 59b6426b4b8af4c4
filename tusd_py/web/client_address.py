"""The address that identifies a client for limits: its own, or the one that trusted proxies forward.

IPv6 clients count by their /64, since one of them usually has all of it. The key is empty where the address is unknown:
such clients cannot be distinguished, so limits for each client do not apply to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from starlette.types import Scope

from tusd_py.model.addresses import Network, client_key, parse_address
from tusd_py.protocol.headers import Headers
from tusd_py.web.location import parse_forwarded

#: How many addresses of one header are examined, from the right: a chain of trusted proxies is short.
_HOPS_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAddresses:
    """Finds the key of a client. ``trusted_proxies`` are never counted as clients themselves if they forward one."""

    trusted_proxies: Sequence[Network] = ()
    forwarded_headers: Literal["x-forwarded", "forwarded"] = "x-forwarded"

    def key(self, scope: Scope, headers: Headers) -> str:
        """The key of the client that sent this request."""
        client = scope.get("client")
        return self.of_peer(str(client[0]) if client else None, headers)

    def of_peer(self, host: str | None, headers: Headers) -> str:
        """The key of the client of a request from a peer with this address; ``None`` on a unix socket."""
        if not self.trusted_proxies:
            return _key(host) if host else ""
        # A peer on a unix socket has passed the permissions of the socket file.
        if host is not None and not self._is_trusted(host):
            return _key(host)
        found = ""
        # Each proxy appends the address of its own peer: all before the first one that is not trusted may be invented.
        for hop in reversed(self._hops(headers)[-_HOPS_MAX:]):
            found = _without_port(hop.strip())
            if not self._is_trusted(found):
                break
        return _key(found)

    def connection_key(self, peer: str | None) -> str:
        """The key of a connection from ``peer``: empty for trusted proxies and on unix sockets."""
        return "" if peer is None or self._is_trusted(peer) else _key(peer)

    def _hops(self, headers: Headers) -> list[str]:
        if self.forwarded_headers == "forwarded":
            return [hop.get("for", "") for hop in parse_forwarded(headers.get(b"forwarded") or "")]
        return (headers.get(b"x-forwarded-for") or "").rsplit(",", _HOPS_MAX)

    def _is_trusted(self, text: str) -> bool:
        if not self.trusted_proxies:
            return False
        address = parse_address(text)
        return address is not None and any(address in network for network in self.trusted_proxies)


@lru_cache(maxsize=4096)
def _key(text: str) -> str:
    address = parse_address(text)
    return "" if address is None else client_key(address)


def _without_port(node: str) -> str:
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0] if node.count(":") == 1 else node
