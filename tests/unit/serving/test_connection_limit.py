"""How many connections one address may have."""

from __future__ import annotations

import logging
from ipaddress import ip_network

import pytest

from tusd_py.serving.connection_limit import ConnectionLimit
from tusd_py.web.client_address import ClientAddresses

ADDRESSES = ClientAddresses(trusted_proxies=[ip_network("10.0.0.0/8")])


def test_addresses_are_counted_apart(caplog: pytest.LogCaptureFixture) -> None:
    """An address at its limit is refused, others are not; a flood is logged once and every refusal counted."""
    refused = 0

    def count() -> None:
        nonlocal refused
        refused += 1

    limit = ConnectionLimit(2, ADDRESSES)
    limit.on_refused = count
    one, other = limit.key(("192.0.2.1", 1)), limit.key(("192.0.2.2", 1))
    for _ in range(2):
        assert limit.allows(one)
        limit.add(one)
    with caplog.at_level(logging.WARNING):
        assert not any(limit.allows(one) for _ in range(100))
    assert (refused, len(caplog.records)) == (100, 1)
    assert limit.allows(other)
    assert not limit.allows(other, more=2)
    limit.remove(one)
    assert limit.allows(one)
    limit.remove(one)
    assert limit._counts == {}


def test_ipv6_by_network_and_exemptions() -> None:
    """IPv6 counts by its /64; trusted proxies, unix sockets and a limit of 0 are not counted."""
    limit = ConnectionLimit(1, ADDRESSES)
    assert limit.key(("2001:db8::1", 1, 0, 0)) == limit.key(("2001:db8::2", 1, 0, 0)) == "2001:db8::/64"
    limit.add("")
    for peer in (("10.0.0.1", 1), "", None, b""):
        assert limit.key(peer) == ""
        assert limit.allows(limit.key(peer), more=9)
    limit.remove("")
    assert ConnectionLimit(0, ADDRESSES).key(("192.0.2.1", 1)) == ""
