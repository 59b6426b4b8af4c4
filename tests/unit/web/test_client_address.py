"""The address that limits for each client count by."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from tusd_py.protocol.headers import Headers
from tusd_py.web.client_address import ClientAddresses

PROXIES = ClientAddresses(trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")))


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", ""),
    ],
)
def test_key_of_direct_client(peer: str, key: str) -> None:
    """IPv4 by address, also where it is mapped into IPv6; IPv6 by its /64. Headers of the client do not count."""
    headers = Headers([(b"x-forwarded-for", b"198.51.100.7"), (b"forwarded", b"for=198.51.100.8")])
    for addresses in (PROXIES, ClientAddresses()):
        assert addresses.key({"client": (peer, 1234)}, headers) == key


@pytest.mark.parametrize(
    ("forwarded_for", "key"),
    [
        (b"198.51.100.7", "198.51.100.7"),
        (b"1.1.1.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        (b"198.51.100.7:4711", "198.51.100.7"),
        (b"[2001:db8:1:2::5]:4711", "2001:db8:1:2::/64"),
        (b"2001:db8:1:2::5", "2001:db8:1:2::/64"),
        (b"10.0.0.2", "10.0.0.2"),
        (b"unknown", ""),
        (b"198.51.100.7, unknown", ""),
        (b"", ""),
    ],
)
@pytest.mark.parametrize("client", [("10.0.0.1", 1), None])
def test_key_behind_proxy(forwarded_for: bytes, key: str, client: tuple[str, int] | None) -> None:
    """The right-most address that is no trusted proxy; empty, which no limit counts, if there is none."""
    assert PROXIES.key({"client": client}, Headers([(b"x-forwarded-for", forwarded_for)])) == key


def test_key_by_the_convention_that_is_believed() -> None:
    """A proxy that sets one of the two headers passes on what the client sent of the other."""
    headers = Headers([(b"x-forwarded-for", b"198.51.100.7"), (b"forwarded", b'for="[2001:db8::1]:80";proto=https')])
    rfc7239 = ClientAddresses(trusted_proxies=PROXIES.trusted_proxies, forwarded_headers="forwarded")
    assert rfc7239.key({"client": ("10.0.0.1", 1)}, headers) == "2001:db8::/64"
    assert PROXIES.key({"client": ("10.0.0.1", 1)}, headers) == "198.51.100.7"


def test_key_of_unix_socket_without_proxies() -> None:
    """The peer of a unix socket has no address, and nothing says that its headers can be trusted."""
    assert ClientAddresses().key({"client": None}, Headers([(b"x-forwarded-for", b"198.51.100.7")])) == ""


def test_trusted_proxies_and_unix_sockets_are_not_counted() -> None:
    """Connections of trusted proxies and of unix sockets are not counted; every other peer has a key."""
    assert [PROXIES.connection_key(peer) for peer in (None, "10.1.1.1", "::ffff:10.1.1.1", "fd00::1")] == [""] * 4
    assert PROXIES.connection_key("2001:db8::1") == "2001:db8::/64"
