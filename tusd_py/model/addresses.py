"""IP addresses of peers in the form in which they are compared.

A socket that serves IPv6 and IPv4 shows an IPv4 peer as ``::ffff:10.0.0.7`` (RFC 4291, 2.5.5.2). It is the same peer as
``10.0.0.7`` and must match the same networks.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAPPED = IPv6Network("::ffff:0:0/96")


def parse_address(text: str) -> Address | None:
    """The address, as IPv4 where it is mapped into IPv6; None if ``text`` is not an address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return unmapped(address)


def client_key(address: Address) -> str:
    """The name by which a client at ``address`` counts: for IPv6 its /64, since one client usually has all of it."""
    return str(IPv6Network((int(address), 64), strict=False)) if isinstance(address, IPv6Address) else str(address)


def unmapped(address: Address) -> Address:
    """``address`` as IPv4 if it is an IPv4 address that is mapped into IPv6."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def parse_network(text: str) -> Network:
    """The network, as IPv4 where it is mapped into IPv6; bits after the prefix are ignored. Raises ``ValueError``."""
    network = ip_network(text, strict=False)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network
