"""Webhooks connect to public addresses only, and to the address that was checked."""

from __future__ import annotations

from collections.abc import Sequence

import httpcore2
import pytest

from tusd_py.hooks.delivery.ssrf import AddressRefused, PublicOnlyBackend, is_public

pytestmark = pytest.mark.anyio

PRIVATE = ["127.0.0.1", "::1", "169.254.169.254", "0x7f000001", "2130706433", "127.1", "localhost", "0.0.0.0"]


@pytest.mark.parametrize("host", [*PRIVATE, "::ffff:127.0.0.1", "fe80::1", "64:ff9b::7f00:1", "2002:7f00:1::"])
async def test_private_addresses_are_refused_in_every_spelling(host: str) -> None:
    """Before any connection is made."""
    with pytest.raises(AddressRefused, match="not public"):
        await PublicOnlyBackend().connect_tcp(host, 9, timeout=1)


async def test_one_private_address_among_public_ones_is_refused() -> None:
    """The owner of a name could list a private address last, or first."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["93.184.216.34", "10.0.0.1"]

    with pytest.raises(AddressRefused, match=r"example\.com has the address 10\.0\.0\.1, which is not public"):
        await PublicOnlyBackend(resolve).connect_tcp("example.com", 80)


async def test_a_name_without_addresses_is_refused() -> None:
    """There is nothing to connect to."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        return []

    with pytest.raises(AddressRefused, match=r"example\.com has no address"):
        await PublicOnlyBackend(resolve).connect_tcp("example.com", 80)


async def test_an_unknown_name_is_a_connect_error() -> None:
    """The error of the library, so that the delivery is retried."""
    with pytest.raises(httpcore2.ConnectError, match="cannot be resolved"):
        await PublicOnlyBackend().connect_tcp("unknown.invalid", 80)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"])
def test_internet_addresses_are_public(address: str) -> None:
    """IPv4 and IPv6."""
    assert is_public(address)


def test_multicast_is_not_public() -> None:
    """A multicast address is not one endpoint."""
    assert not is_public("224.0.1.1")
