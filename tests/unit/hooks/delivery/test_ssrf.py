"""Webhooks connect to public addresses only, and to the address that was checked."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

import httpcore2
import pytest

from tusd_py.hooks.delivery.ssrf import AddressRefused, PublicOnlyBackend, is_public

pytestmark = pytest.mark.anyio

PRIVATE = ["127.0.0.1", "::1", "169.254.169.254", "0x7f000001", "2130706433", "127.1", "localhost", "0.0.0.0"]


@pytest.mark.parametrize("host", [*PRIVATE, "::ffff:127.0.0.1", "fe80::1", "64:ff9b::7f00:1", "2002:7f00:1::"])
async def test_private_addresses_are_refused_in_every_spelling(host: str) -> None:
    """Before any connection is made."""
    backend = PublicOnlyBackend()
    with pytest.raises(AddressRefused, match="not public"):
        await backend.connect_tcp(host, 9, timeout=1)
    backend.close()


async def test_one_private_address_among_public_ones_is_refused() -> None:
    """The owner of a name could list a private address last, or first."""

    async def resolve(host: str) -> Sequence[str]:
        return ["93.184.216.34", "10.0.0.1"]

    with pytest.raises(AddressRefused, match=r"example\.com has the address 10\.0\.0\.1, which is not public"):
        await PublicOnlyBackend(resolve).connect_tcp("example.com", 80)


async def test_a_name_without_addresses_is_a_connect_error() -> None:
    """There is nothing to connect to."""

    async def resolve(host: str) -> Sequence[str]:
        return []

    with pytest.raises(httpcore2.ConnectError, match=r"example\.com has no address"):
        await PublicOnlyBackend(resolve).connect_tcp("example.com", 80)


async def test_an_unknown_name_is_a_connect_error() -> None:
    """The error of the library, so that the delivery is retried."""
    backend = PublicOnlyBackend()
    with pytest.raises(httpcore2.ConnectError, match="cannot be resolved"):
        await backend.connect_tcp("unknown.invalid", 80)
    backend.close()


def ends(network: str) -> list[str]:
    """The first and the last address of a network, and one in between."""
    parsed = ip_network(network)
    return [str(parsed[index]) for index in (0, parsed.num_addresses // 2, -1)]


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34",
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.88.98.255",
        "192.88.100.0",
        "223.255.255.255",
        "::ffff:93.184.216.34",
        "64:ff9b::93.184.216.34",
        "2606:2800:220:1:248:1893:25c8:1946",
        "2001:4860:4860::8888",
        "2001:200::",
        "3ffe:ffff::1",
    ],
)
def test_internet_addresses_are_public(address: str) -> None:
    """IPv4 and IPv6, up to the edges of the blocks that are not."""
    assert is_public(address)


@pytest.mark.parametrize(
    "network",
    [
        # IANA IPv4 Special-Purpose Address Registry
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/31"),
        *("192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"),
        *("255.255.255.255/32", "224.0.0.0/4"),
        # IANA IPv6 Special-Purpose Address Registry, and blocks that left it
        *("::1/128", "::/128", "::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001::/32"),
        *("2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32", "2001:4:112::/48"),
        *("2001:10::/28", "2001:20::/28", "2001:30::/28", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48"),
        *("3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "::ffff:0:0:0/96"),
        # IPv4 in IPv6
        *("::ffff:127.0.0.0/104", "::ffff:10.0.0.0/104", "::ffff:192.88.99.0/120", "64:ff9b::7f00:0/104"),
        *("64:ff9b::10.0.0.0/104", "64:ff9b::192.168.0.0/112", "64:ff9b::169.254.169.254/128", "64:ff9b::/104"),
        # Not given out
        *("4000::/3", "6000::/3", "8000::/3", "a000::/3", "c000::/3", "e000::/4", "200::/7", "400::/6"),
    ],
)
def test_special_blocks_are_not_public(network: str) -> None:
    """Whatever the version of Python says about them."""
    assert [address for address in ends(network) if is_public(address)] == []


def test_text_that_is_no_address_is_not_public() -> None:
    """A resolver returns addresses; anything else is refused."""
    assert not is_public("localhost")
