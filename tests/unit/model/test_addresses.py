"""Addresses are compared in one form: IPv4 that is mapped into IPv6 is IPv4."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from tusd_py.model.addresses import parse_address, parse_network


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("::FFFF:a00:7", "10.0.0.7"),
        ("0:0:0:0:0:ffff:10.0.0.7", "10.0.0.7"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_mapped_addresses_are_ipv4(text: str, expected: str) -> None:
    """In every spelling; other addresses stay as they are."""
    assert parse_address(text) == ip_address(expected)


@pytest.mark.parametrize("text", ["", "unix", "10.0.0", "10.0.0.7:80", "[::1]"])
def test_other_text_is_no_address(text: str) -> None:
    """Names, ports and brackets are not part of an address."""
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.7/8", "10.0.0.0/8"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.0.0.7", "10.0.0.7/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("fd00::/8", "fd00::/8"),
    ],
)
def test_mapped_networks_are_ipv4(text: str, expected: str) -> None:
    """Only where all their addresses are."""
    assert parse_network(text) == ip_network(expected)
