"""``CorsPolicy.headers``: the headers for each origin, for requests and preflights."""

from __future__ import annotations

import pytest

from tusd_py.web.cors import ALLOW_HEADERS, ALLOW_METHODS, EXPOSE_HEADERS, CorsPolicy

ORIGIN = b"https://app.example"


def cors_headers(cors: CorsPolicy, origin: bytes | None = ORIGIN, preflight: bool = False) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in cors.headers(origin, preflight)}


def test_default_allows_every_origin() -> None:
    """By default any origin may read every header of the protocol; a request without Origin gets no CORS headers."""
    cors = CorsPolicy()
    assert cors_headers(cors) == {"access-control-allow-origin": "*", "access-control-expose-headers": EXPOSE_HEADERS}
    assert cors_headers(cors, None) == {}


def test_preflight_lists_methods_and_headers() -> None:
    """A preflight lists the methods, the headers including configured ones, and the maximum age."""
    cors = CorsPolicy(allow_headers=["X-Own"], expose_headers=["X-Seen"], max_age_seconds=60)
    headers = cors_headers(cors, preflight=True)
    assert headers["access-control-allow-methods"] == ALLOW_METHODS
    assert headers["access-control-allow-headers"] == f"{ALLOW_HEADERS}, X-Own"
    assert headers["access-control-expose-headers"] == f"{EXPOSE_HEADERS}, X-Seen"
    assert headers["access-control-max-age"] == "60"


@pytest.mark.parametrize(
    "origin", [b"https://evil.example", b"https://app.example.evil", b"http://app.example", b"null", b"\xff"]
)
def test_origin_must_match_exactly(origin: bytes) -> None:
    """An origin that is not allowed gets Vary only, which keeps caches from mixing up responses."""
    cors = CorsPolicy(allow_origins=["https://app.example"])
    assert cors_headers(cors, origin) == {"vary": "Origin"}
    assert cors_headers(cors, None) == {"vary": "Origin"}
    assert cors_headers(cors)["access-control-allow-origin"] == "https://app.example"


def test_credentials_need_the_origin() -> None:
    """With credentials the origin itself is named: browsers refuse "*" then."""
    headers = cors_headers(CorsPolicy(allow_origins=["*"], allow_credentials=True))
    assert headers["access-control-allow-origin"] == ORIGIN.decode()
    assert headers["access-control-allow-credentials"] == "true"
    assert headers["vary"] == "Origin"


def test_disabled_sends_no_headers() -> None:
    """With ``enabled = false`` a proxy in front sends the headers."""
    assert cors_headers(CorsPolicy(enabled=False)) == cors_headers(CorsPolicy(enabled=False), preflight=True) == {}
