"""Connections to public addresses only, so that webhooks cannot be used to reach the server's own network (SSRF).

Names are resolved here and the connection is made to the address that was checked: a name that resolves differently a
moment later changes nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpcore2

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

# The last 32 bits are an IPv4 address, to which a NAT64 gateway would connect.
_NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefused(httpcore2.ConnectError):
    """The host has an address that is not public; nothing was sent."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of ``host``, which may be a name or an address in any spelling. Raises ``OSError``."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Whether ``address`` is a unicast address of the internet, also where it embeds an IPv4 address."""
    parsed: IPv4Address | IPv6Address = ip_address(address)
    if isinstance(parsed, IPv6Address):
        embedded = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo or (None, None))[1]
        if parsed in _NAT64:
            embedded = IPv4Address(int(parsed) & 0xFFFFFFFF)
        parsed = embedded or parsed
    return parsed.is_global and not parsed.is_multicast


class PublicOnlyBackend(httpcore2.AsyncNetworkBackend):
    """Connects like the HTTP library itself, but only to hosts of which every address is public."""

    def __init__(self, resolve: Resolve = resolve) -> None:
        self._backend = httpcore2.AnyIOBackend()
        self._resolve = resolve

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of ``host`` that accepts. Raises ``AddressRefused`` before any connection."""
        try:
            addresses = await self._resolve(host, port)
        except OSError as error:
            raise httpcore2.ConnectError(f"{host} cannot be resolved: {error.strerror}") from error
        if not addresses:
            raise AddressRefused(f"{host} has no address")
        refused = [address for address in addresses if not is_public(address)]
        if refused:
            raise AddressRefused(
                f"{host} has the address {', '.join(refused)}, which is not public; "
                "set allow_private for this endpoint if that is intended"
            )
        for address in addresses[:-1]:
            try:
                return await self._connect(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._connect(addresses[-1], port, timeout, local_address, socket_options)

    async def _connect(
        self,
        address: str,
        port: int,
        seconds: float | None,
        local_address: str | None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None,
    ) -> httpcore2.AsyncNetworkStream:
        return await self._backend.connect_tcp(address, port, seconds, local_address, socket_options)
