"""Behind proxies: the links that clients get, from proxies that are trusted and from those that are not."""

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
    # Whatever the client is told to be its address, the upload is found below it here.
    assert (await request("HEAD", server.url + url[1])).status == 200
    return url[0] + "/"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, "/files/"),
        ({"X-Forwarded-Host": "u.example", "X-Forwarded-Proto": "https"}, "https://u.example/files/"),
        ({"Forwarded": 'host="u.example:8443";proto=https'}, "https://u.example:8443/files/"),
        ({"X-Forwarded-Prefix": "/api"}, "/api/files/"),
        ({"X-Forwarded-Host": "u.example/evil"}, "/files/"),
    ],
)
@pytest.mark.anyio
async def test_a_trusted_proxy_speaks_for_the_client(
    server: RunningServer, headers: dict[str, str], expected: str
) -> None:
    """The peer is in a network that the settings name."""
    assert await location(server, headers) == expected


@pytest.mark.anyio
async def test_nobody_is_trusted_by_default(tmp_path: Path) -> None:
    """Not even from this very host; and a public URL in the settings is the last word."""
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
