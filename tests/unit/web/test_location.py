"""``Locator``: the URL from the settings, from trusted proxies, or a path; never from an untrusted peer's headers."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any, Literal

import pytest

from tests.unit.web.asgi import scope
from tusd_py.protocol.headers import Headers
from tusd_py.web.location import Locator

TRUSTING = Locator(trusted_proxies=[ip_network("127.0.0.0/8"), ip_network("fd00::/8")])
FORWARDED = Locator(trusted_proxies=TRUSTING.trusted_proxies, forwarded_headers="forwarded")
EVIL = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example;proto=https"}


def collection_url(locator: Locator, headers: dict[str, str], path: str = "/files/", **more: object) -> str:
    request = scope("POST", path, headers, **more)
    return locator.collection(request, path, Headers(request["headers"])).url


def test_untrusted_headers_are_ignored() -> None:
    """Neither Host nor the headers of a peer that is no trusted proxy are used: the URL is a path."""
    assert collection_url(Locator(), EVIL) == "/files/"
    assert collection_url(TRUSTING, EVIL, client=("10.0.0.1", 1)) == "/files/"
    assert collection_url(TRUSTING, EVIL, client=("not an address", 1)) == "/files/"
    assert collection_url(TRUSTING, {"Host": "evil.example:81"}) == "/files/"


def test_one_convention_is_believed() -> None:
    """A proxy passes on the headers of the other convention as the client sent them."""
    ours = {"X-Forwarded-Host": "u.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/up"}
    evil = {"Forwarded": "for=10.9.9.9;host=evil.example;proto=https"}
    assert collection_url(TRUSTING, {**ours, **evil}) == "https://u.example/up/files/"
    assert collection_url(TRUSTING, evil) == "/files/"
    ours = {"Forwarded": "for=10.9.9.9;host=u.example;proto=https"}
    evil = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "X-Forwarded-Prefix": "/evil"}
    assert collection_url(FORWARDED, {**ours, **evil}) == "https://u.example/files/"
    assert collection_url(FORWARDED, evil) == "/files/"


@pytest.mark.parametrize("peer", ["::ffff:127.0.0.1", "::FFFF:7f00:1", "127.0.0.1"])
def test_mapped_peer_is_trusted_as_ipv4(peer: str) -> None:
    """A socket for IPv4 and IPv6 shows IPv4 peers mapped into IPv6; so may the node of another proxy."""
    assert collection_url(TRUSTING, {"X-Forwarded-Host": "u.example"}, client=(peer, 1)) == "http://u.example/files/"
    hops = f'for=10.9.9.9;host=u.example;proto=http, for="[{peer}]";host=inner;proto=http'
    assert collection_url(FORWARDED, {"Forwarded": hops}, client=(peer, 1)) == "http://u.example/files/"


DIRECT: dict[str, Any] = {"server": ("127.0.0.1", 8080)}
HERE = {"Host": "tus.example:8080"}


@pytest.mark.parametrize(
    ("host", "more", "expected"),
    [
        ("127.0.0.1:8080", {}, "http://127.0.0.1:8080/files/"),
        ("[::1]:8080", {}, "http://[::1]:8080/files/"),
        ("my_app:8080", {}, "http://my_app:8080/files/"),
        ("tus.example", {"server": ("10.0.0.1", 80)}, "http://tus.example/files/"),
        ("tus.example:443", {"server": ("10.0.0.1", 443), "scheme": "https"}, "https://tus.example/files/"),
        ("tus.example", {"server": ("10.0.0.1", 443), "scheme": "https"}, "https://tus.example/files/"),
        # The port is another, as behind a proxy that passes Host on.
        ("tus.example", {}, "/files/"),
        ("tus.example:80", {}, "/files/"),
        ("tus.example:08080", {}, "/files/"),
        ("tus.example", {"server": ("10.0.0.1", 443)}, "/files/"),
        ("tus.example", {"server": ("/run/tus.sock", None)}, "/files/"),
        ("tus.example", {"server": None}, "/files/"),
        ("tus.example:8080/evil", {}, "/files/"),
        ("tus.example:8080, evil", {}, "/files/"),
        ("", {}, "/files/"),
        ("tus.example:8080", {"http_version": "1.0"}, "/files/"),
        ("tus.example:8080", {"http_version": "2"}, "/files/"),
    ],
)
def test_direct_request_gets_an_absolute_url(host: str, more: dict[str, Any], expected: str) -> None:
    """Host is used if it has the port that the client is connected to; some clients cannot resolve a path."""
    assert collection_url(Locator(), {"Host": host}, **{**DIRECT, **more}) == expected
    assert collection_url(TRUSTING, {"Host": host}, **{**DIRECT, **more}) == expected


@pytest.mark.parametrize(
    "name", ["Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Port", "X-Real-IP", "Origin", "Sec-Fetch-Mode"]
)
def test_proxied_and_browser_requests_get_a_path(name: str) -> None:
    """A header of a proxy, trusted or not, or of a browser shows that Host may not be what the client resolves."""
    assert collection_url(Locator(), {**HERE, name: "x"}, **DIRECT) == "/files/"
    assert collection_url(TRUSTING, {**HERE, name: "x"}, **DIRECT) == "/files/"


@pytest.mark.parametrize(
    ("location", "headers", "expected"),
    [
        ("path", HERE, "/files/"),
        ("path", {"X-Forwarded-Host": "u.example", "X-Forwarded-Prefix": "/up"}, "/up/files/"),
        ("absolute", {"Host": "u.example"}, "http://u.example/files/"),
        ("absolute", {"Host": "u.example", "X-Forwarded-Proto": "https"}, "https://u.example/files/"),
        ("absolute", {"Host": "inner", "X-Forwarded-Host": "u.example"}, "http://u.example/files/"),
        ("absolute", {"Host": "u.example", "Origin": "https://u.example", "Via": "1.1 x"}, "http://u.example/files/"),
        ("absolute", {"Host": "u.example/evil"}, "/files/"),
        ("absolute", {}, "/files/"),
    ],
)
def test_location_fixes_the_form(location: Literal["path", "absolute"], headers: dict[str, str], expected: str) -> None:
    """``path`` is always a path; ``absolute`` always uses a valid Host, with the scheme of trusted proxies."""
    locator = Locator(location=location, trusted_proxies=TRUSTING.trusted_proxies)
    assert collection_url(locator, headers, **DIRECT) == expected


def test_path_is_decoded_for_upload_concat() -> None:
    """The path by which Upload-Concat may name parts is decoded, with the prefix that a trusted proxy forwards."""
    request = scope("POST", "/my files/", {"X-Forwarded-Prefix": "/a%20b"})
    found = TRUSTING.collection(request, "/my files/", Headers(request["headers"]))
    assert found == ("/a%20b/my%20files/", "/a b/my files/")


def test_public_url_is_used() -> None:
    """The configured URL is used, with and without a slash at its end."""
    for url in ("https://u.example/up", "https://u.example/up/"):
        assert collection_url(Locator(public_url=url), EVIL) == "https://u.example/up/"


def test_path_is_percent_encoded() -> None:
    """The server decodes the path of a mount; the URL has it encoded."""
    assert collection_url(Locator(), {}, "/my files/ü/") == "/my%20files/%C3%BC/"


def test_unix_socket_peer_is_trusted() -> None:
    """A peer on a unix socket has passed the permissions of the socket file."""
    assert collection_url(TRUSTING, {"X-Forwarded-Host": "u.example"}, client=None) == "http://u.example/files/"


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("host=u.example;proto=https", "https://u.example/files/"),
        ('Host="u.example:8443";Proto=HTTPS', "https://u.example:8443/files/"),
        ('host="u\\.example";proto=https', "https://u.example/files/"),
        ('for="[2001:db8::1]:4711";host="[2001:db8::2]:81";proto=http', "http://[2001:db8::2]:81/files/"),
        ("proto=https;host=u.example:443", "https://u.example/files/"),
        ("proto=http;host=u.example:80", "http://u.example/files/"),
        # The right-most element whose for is not a trusted proxy counts.
        ("host=evil.example;proto=https, for=10.9.9.9;host=u.example;proto=https", "https://u.example/files/"),
        (
            "for=10.9.9.9;host=u.example;proto=https, for=127.0.0.5;host=inner;proto=http",
            "https://u.example/files/",
        ),
        ('for="[fd00::1]:99";host=one;proto=http', "http://one/files/"),
        # Incomplete or malformed: a path.
        ("", "/files/"),
        ("for=10.9.9.9", "/files/"),
        ("host=u.example", "/files/"),
        ("host=u.example;proto=gopher", "/files/"),
        ("host=u.example/evil;proto=https", "/files/"),
        ('host="u.example\\"x";proto=https', "/files/"),
        ("host=u.example;proto=https,;;", "/files/"),
        (",", "/files/"),
        ("nonsense", "/files/"),
        ('host="open', "/files/"),
    ],
)
def test_forwarded_header_of_several_proxies(forwarded: str, expected: str) -> None:
    """RFC 7239: several proxies, quoted values and IPv6 addresses; a malformed header is ignored as a whole."""
    assert collection_url(FORWARDED, {"Forwarded": forwarded}) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Host": "u.example", "Proto": "https"}, "https://u.example/files/"),
        ({"Host": "evil.example, u.example", "Proto": "http, https"}, "https://u.example/files/"),
        ({"Host": "u.example:8080"}, "http://u.example:8080/files/"),
        ({"Host": "u.example", "Proto": "https", "Prefix": "/up/"}, "https://u.example/up/files/"),
        ({"Prefix": "/up"}, "/up/files/"),
        ({"Host": "u.example/evil", "Prefix": "/up"}, "/up/files/"),
        ({"Host": "my_app", "Prefix": "/@me"}, "http://my_app/@me/files/"),
        ({"Prefix": "/a%20b/c+d;e=(1)"}, "/a%20b/c+d;e=(1)/files/"),
        ({"Prefix": "/a%2"}, "/files/"),
        ({"Prefix": "//evil.example"}, "/files/"),
        ({"Prefix": "/up?x"}, "/files/"),
        ({"Host": "u.example\\evil"}, "/files/"),
        ({"Host": "-u.example"}, "/files/"),
        ({"Host": "u.example:123456"}, "/files/"),
        ({"Host": "u.example", "Proto": "javascript"}, "/files/"),
        ({"Proto": "https"}, "/files/"),
        ({}, "/files/"),
    ],
)
def test_x_forwarded(headers: dict[str, str], expected: str) -> None:
    """The last entry of an X-Forwarded-* header counts; a value that cannot be part of a URL is ignored."""
    assert collection_url(TRUSTING, {f"X-Forwarded-{name}": value for name, value in headers.items()}) == expected
