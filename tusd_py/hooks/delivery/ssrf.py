"""Connections to public addresses only, so that webhooks cannot be used to reach the server's own network (SSRF).

Names are resolved here and the connection is made to the address that was checked: a name that resolves differently a
moment later changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import httpcore2

from tusd_py.hooks.network import ResolvingBackend
from tusd_py.model.addresses import parse_address

# Not ``is_global`` of the standard library: what it takes for public differs between releases of Python.
# IANA IPv4 Special-Purpose Address Registry, and IPv4 Multicast Address Space Registry.
_IPV4_SPECIAL = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private use
        "100.64.0.0/10",  # shared address space of providers
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, with the metadata services of clouds
        "172.16.0.0/12",  # private use
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays, deprecated
        "192.168.0.0/16",  # private use
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and limited broadcast
    )
)
# IANA Internet Protocol Version 6 Address Space: only this is global unicast. Outside of it are loopback, mapped and
# compatible addresses, 64:ff9b:1::/48, 100::/64, 5f00::/16, fc00::/7, fe80::/10, fec0::/10 and ff00::/8.
_IPV6_UNICAST = IPv6Network("2000::/3")
# Within it, from the IANA IPv6 Special-Purpose Address Registry. An address in a tunnel leads to an IPv4 address.
_IPV6_SPECIAL = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocol assignments: Teredo, benchmarks, ORCHID and others
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
# RFC 6052: the last 32 bits are an IPv4 address, to which a NAT64 gateway would connect.
_NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefused(httpcore2.ConnectError):
    """The host has an address that is not public; nothing was sent."""


def is_public(address: str) -> bool:
    """Whether ``address`` is a unicast address of the internet, also where it embeds an IPv4 address."""
    parsed = parse_address(address)
    if isinstance(parsed, IPv6Address):
        if parsed not in _NAT64:
            return parsed in _IPV6_UNICAST and not any(parsed in network for network in _IPV6_SPECIAL)
        parsed = IPv4Address(int(parsed) & 0xFFFFFFFF)
    return parsed is not None and not any(parsed in network for network in _IPV4_SPECIAL)


class PublicOnlyBackend(ResolvingBackend):
    """Connects only to hosts of which every address is public."""

    def check(self, host: str, addresses: Sequence[str]) -> None:
        """Raise ``AddressRefused``, before any connection is made."""
        refused = [address for address in addresses if not is_public(address)]
        if refused:
            raise AddressRefused(
                f"{host} has the address {', '.join(refused)}, which is not public; "
                "set allow_private for this endpoint if that is intended"
            )
