"""CORS headers: for every answer, by origin."""

from __future__ import annotations

import pytest

from tusd_py.web.cors import ALLOW_HEADERS, ALLOW_METHODS, EXPOSE_HEADERS, Cors

ORIGIN = b"https://app.example"


def told(cors: Cors, origin: bytes | None = ORIGIN, preflight: bool = False) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in cors.headers(origin, preflight)}


def test_open_to_all_by_default() -> None:
    """Any page may upload and read every header of the protocol; without Origin there is nothing to say."""
    cors = Cors()
    assert told(cors) == {"access-control-allow-origin": "*", "access-control-expose-headers": EXPOSE_HEADERS}
    assert told(cors, None) == {}


def test_a_preflight_is_told_what_may_be_sent() -> None:
    """Methods, headers (the operator's too) and for how long that holds."""
    cors = Cors(allow_headers=["X-Own"], expose_headers=["X-Seen"], max_age_seconds=60)
    headers = told(cors, preflight=True)
    assert headers["access-control-allow-methods"] == ALLOW_METHODS
    assert headers["access-control-allow-headers"] == f"{ALLOW_HEADERS}, X-Own"
    assert headers["access-control-expose-headers"] == f"{EXPOSE_HEADERS}, X-Seen"
    assert headers["access-control-max-age"] == "60"


@pytest.mark.parametrize(
    "origin", [b"https://evil.example", b"https://app.example.evil", b"http://app.example", b"null", b"\xff"]
)
def test_origins_are_compared_whole(origin: bytes) -> None:
    """A stranger gets no header but Vary, so that no cache mixes up answers."""
    cors = Cors(allow_origins=["https://app.example"])
    assert told(cors, origin) == {"vary": "Origin"}
    assert told(cors, None) == {"vary": "Origin"}
    assert told(cors)["access-control-allow-origin"] == "https://app.example"


def test_credentials_name_the_origin() -> None:
    """With credentials "*" means nothing to a browser."""
    headers = told(Cors(allow_origins=["*"], allow_credentials=True))
    assert headers["access-control-allow-origin"] == ORIGIN.decode()
    assert headers["access-control-allow-credentials"] == "true"
    assert headers["vary"] == "Origin"


def test_switched_off() -> None:
    """A proxy in front says it all."""
    assert told(Cors(enabled=False)) == told(Cors(enabled=False), preflight=True) == {}
