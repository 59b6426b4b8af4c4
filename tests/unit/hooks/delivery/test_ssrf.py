"""Which addresses webhooks may go to, and that the one looked at is the one connected to."""

from __future__ import annotations

from collections.abc import Sequence

import httpcore2
import pytest

from tests.support.loops import on_loop
from tusd_py.hooks.delivery.ssrf import AddressRefused, PublicOnlyBackend, is_public

PRIVATE = ["127.0.0.1", "::1", "169.254.169.254", "0x7f000001", "2130706433", "127.1", "localhost", "0.0.0.0"]


@pytest.mark.parametrize("host", [*PRIVATE, "::ffff:127.0.0.1", "fe80::1", "64:ff9b::7f00:1", "2002:7f00:1::"])
@on_loop
async def test_private_addresses_are_refused_however_they_are_written(host: str) -> None:
    """Before anything is connected to."""
    with pytest.raises(AddressRefused, match="not public"):
        await PublicOnlyBackend().connect_tcp(host, 9, timeout=1)


@on_loop
async def test_one_private_address_among_others_is_enough() -> None:
    """Whoever controls a name could put it last, or first."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["93.184.216.34", "10.0.0.1"]

    with pytest.raises(AddressRefused, match=r"example\.com has the address 10\.0\.0\.1, which is not public"):
        await PublicOnlyBackend(resolve).connect_tcp("example.com", 80)


@on_loop
async def test_a_name_that_means_nothing_is_a_failure_to_connect() -> None:
    """As the library itself has it, so that it is tried again."""
    with pytest.raises(httpcore2.ConnectError, match="cannot be resolved"):
        await PublicOnlyBackend().connect_tcp("nobody.invalid", 80)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"])
def test_public_addresses_are_public(address: str) -> None:
    """Those of the internet."""
    assert is_public(address)


def test_multicast_is_for_nobody() -> None:
    """An address of many is no receiver."""
    assert not is_public("224.0.1.1")
