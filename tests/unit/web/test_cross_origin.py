"""Requests to the API that pages of other origins make a browser send are refused; programs are not."""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.unit.web.asgi import ask, scope
from tusd_py.service import create_app
from tusd_py.settings import load
from tusd_py.web.cross_origin import CrossOriginPolicy
from tusd_py.web.location import Locator

pytestmark = pytest.mark.anyio

PROXIED = Locator(trusted_proxies=[ip_network("127.0.0.1/32")])
POLICY = CrossOriginPolicy(locator=PROXIED, allow_origins=("*", "https://named.example"))
OWN = {"Host": "own.example:8080"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://evil.own.example:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "something new"},
        {"Sec-Fetch-Site": ""},
        # A browser that takes itself for cross-site is believed, whatever the origin looks like.
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://own.example:8080"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://own.example"},
        {"Origin": "http://own.example:8081"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "own.example:8080"},
        {"Origin": "ftp://own.example:8080"},
        {"Origin": "https://named.example.evil.example"},
        {"Origin": "https://evil.example", "X-Forwarded-Host": "other.example, own.example"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH", "ANYTHING"])
def test_other_origins_are_refused(method: str, headers: dict[str, str]) -> None:
    """By what the browser says of the page; ``*`` names no origin."""
    assert POLICY.refuses(scope(method, "/api/jobs/1/retry", {**OWN, **headers}))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://own.example:8080"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://named.example"},
        {"Origin": "https://NAMED.example"},
        {"Origin": "http://own.example:8080"},
        {"Origin": "https://own.example:8080"},
        {"Origin": "https://seen.example", "X-Forwarded-Host": "seen.example"},
    ],
)
def test_programs_own_pages_and_named_origins_are_not(headers: dict[str, str]) -> None:
    """A client that is no browser sends neither header."""
    assert not POLICY.refuses(scope("POST", "/api/jobs/1/retry", {**OWN, **headers}))


@pytest.mark.parametrize(
    ("host", "is_refused"),
    [
        ("rebound.com", True),
        ("rebound.com:8080", True),
        ("REBOUND.com.", True),
        ("a.b.co.uk:8080", True),
        ("127.0.0.1.evil.com", True),
        ("1.2.3.4:8080", False),
        ("[::1]:8080", False),
        ("localhost:8080", False),
        ("server", False),
        ("files.corp.internal:8080", False),
        ("nas.home.arpa", False),
        ("nas.local.", False),
    ],
)
def test_public_name_on_plain_http_is_not_our_own(host: str, is_refused: bool) -> None:
    """Its owner could let it resolve to this server; with TLS, or with Sec-Fetch-Site, that is no use."""
    for forwarded in ({"Host": host}, {"Host": "1.2.3.4", "X-Forwarded-Host": host}):
        request = scope("POST", "/api/jobs/1/retry", {**forwarded, "Origin": f"http://{host}"})
        assert POLICY.refuses(request) == is_refused
    for headers in ({"Origin": f"https://{host}"}, {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}):
        assert not POLICY.refuses(scope("POST", "/api/jobs/1/retry", {"Host": host, **headers}))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reading_is_not_refused(method: str) -> None:
    """Links from other sites work; their pages cannot read the answers."""
    assert not POLICY.refuses(scope(method, "/", {**OWN, "Sec-Fetch-Site": "cross-site"}))


def test_public_url_is_our_own_origin() -> None:
    """It is known without headers of a proxy."""
    policy = CrossOriginPolicy(locator=Locator(public_url="https://u.example/up/"))
    assert not policy.refuses(scope("POST", "/api/jobs/1/retry", {**OWN, "Origin": "https://u.example"}))
    assert policy.refuses(scope("POST", "/api/jobs/1/retry", {**OWN, "Origin": "http://u.example"}))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/jobs/1/retry"),
        ("DELETE", "/api/jobs/1"),
        ("POST", "/api/endpoints/library/open"),
        ("POST", "/healthz"),
        ("POST", "/readyz"),
        ("POST", "/metrics"),
        ("POST", "/"),
        ("POST", "/no/such/route"),
    ],
)
async def test_every_route_beside_the_endpoint_refuses(method: str, path: str, tmp_path: Path) -> None:
    """403 with a code and a sentence, before the route runs; the tus endpoint follows CORS."""
    evil = {"Host": "own.example", "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    environment = {"TUSD_PY_API__ENABLED": "true", "TUSD_PY_STORAGE__DATA_DIR": str(tmp_path / "data")}
    app = create_app(load(environ=environment))
    answer = await ask(app, method, path, evil)
    error = json.loads(answer.body)
    assert (answer.status, error["code"], answer.headers["cache-control"]) == (403, "ERR_CROSS_ORIGIN", "no-store")
    assert "cors.allow_origins" in error["error"]
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "1"}
    async with app.router.lifespan_context(app):
        assert (await ask(app, "POST", "/files/", {**evil, **tus})).status == 201
        assert (await ask(app, method, path, {"Host": "own.example"})).status != 403
