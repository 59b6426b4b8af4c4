"""Location behind proxies, trusted and untrusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.client import TUS, request
from tests.support.server import RunningServer, start_server

SETTINGS = {"SERVER__TRUSTED_PROXIES": '["127.0.0.0/8"]'}


async def location(server: RunningServer, headers: dict[str, str]) -> str:
    answer = await request("POST", server.url, {**TUS, "Upload-Length": "1", **headers}, b"")
    assert answer.status == 201, answer
    url = answer.headers["location"].rsplit("/", 1)
    # The upload is found below the path of the collection, whatever the URL in Location.
    assert (await request("HEAD", server.url + url[1])).status == 200
    return url[0] + "/"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Via": "1.1 proxy"}, "/files/"),
        ({"X-Forwarded-Host": "u.example", "X-Forwarded-Proto": "https"}, "https://u.example/files/"),
        (
            {"X-Forwarded-Host": "u.example", "Forwarded": 'host="evil.example";proto=https'},
            "http://u.example/files/",
        ),
        ({"X-Forwarded-Prefix": "/api"}, "/api/files/"),
        ({"X-Forwarded-Host": "u.example/evil"}, "/files/"),
    ],
)
@pytest.mark.anyio
async def test_trusted_proxy_headers_are_used(server: RunningServer, headers: dict[str, str], expected: str) -> None:
    """The forwarding headers of a peer in ``trusted_proxies`` make up the URL; malformed ones are ignored."""
    assert await location(server, headers) == expected


@pytest.mark.anyio
async def test_no_proxy_is_trusted_by_default(tmp_path: Path) -> None:
    """Without ``trusted_proxies`` forwarding headers are ignored, from localhost too; a public URL always applies."""
    forged = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example;proto=https"}
    for settings, expected in (
        ({}, "/files/"),
        ({"SERVER__PUBLIC_URL": "https://u.example/up/"}, "https://u.example/up/"),
    ):
        running = start_server(tmp_path / "data", settings=settings)
        try:
            assert await location(running, forged) == expected
        finally:
            running.kill()
