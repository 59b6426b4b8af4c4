"""CORS on a running server: preflights, refusals and successes, for allowed and other origins."""

from __future__ import annotations

import base64

import pytest

from tests.support.client import BODY, TUS, create, patch_headers, request
from tests.support.server import RunningServer

SETTINGS = {"CORS__ALLOW_ORIGINS": '["https://app.example"]', "CORS__ALLOW_CREDENTIALS": "true"}
ALLOWED, OTHER = {"Origin": "https://app.example"}, {"Origin": "https://evil.example"}


@pytest.mark.anyio
async def test_preflight_without_tus_resumable_2xx(server: RunningServer) -> None:
    """Browsers send no Tus-Resumable in a preflight; every method and header of the protocol is allowed."""
    headers = {**ALLOWED, "Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "upload-offset"}
    answer = await request("OPTIONS", server.url, headers)
    assert answer.status in (200, 204)
    assert answer.headers["access-control-allow-origin"] == ALLOWED["Origin"]
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert "Upload-Offset" in answer.headers["access-control-allow-headers"]


@pytest.mark.anyio
async def test_every_response_has_cors_headers(server: RunningServer) -> None:
    """Successes and refusals, of known and unknown uploads, have the CORS headers."""
    url = await create(server.url, 4)
    for method, target, headers, body in (
        ("HEAD", url, TUS, None),
        ("PATCH", url, patch_headers(3), b"x"),
        ("PATCH", url, {"Upload-Offset": "0"}, b"x"),
        ("HEAD", f"{server.url}unknown", TUS, None),
        ("PUT", url, TUS, None),
    ):
        answer = await request(method, target, {**headers, **ALLOWED}, body)
        assert answer.headers["access-control-allow-origin"] == ALLOWED["Origin"], answer
        assert "Upload-Offset" in answer.headers["access-control-expose-headers"]
        assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("length", [100, 2600])
@pytest.mark.anyio
async def test_head_fits_into_4_kib(server: RunningServer, length: int) -> None:
    """The head of a response to HEAD is below 4 KiB where the metadata allows, whatever its file name means encoded."""
    name = base64.b64encode(("ü" * (length * 3 // 8)).encode()).decode()
    metadata = f"filename {name}"
    headers = {**TUS, **BODY, "Upload-Length": "3", "Upload-Metadata": metadata}
    url = (await request("POST", server.url, headers, b"abc")).headers["location"]
    for named in (TUS, {}):
        answer = await request("HEAD", url, {**named, **ALLOWED})
        assert (answer.status, answer.headers["upload-metadata"]) == (200, metadata)
        assert sum(len(name) + len(value) + 4 for name, value in answer.headers.items()) < 4000
        assert ("content-disposition" in answer.headers) == (length < 1000)


@pytest.mark.anyio
async def test_other_origin_gets_no_cors_headers(server: RunningServer) -> None:
    """An origin that is not allowed gets no CORS headers, only Vary for caches."""
    answer = await request("HEAD", await create(server.url, 4), {**TUS, **OTHER})
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


@pytest.mark.anyio
async def test_downloads_in_parts_are_allowed(server: RunningServer) -> None:
    """A page may send the headers of partial and conditional requests, and may read those of their responses."""
    url = await create(server.url, 4)
    assert (await request("PATCH", url, patch_headers(0), b"abcd")).status == 204
    preflight = await request("OPTIONS", url, {**ALLOWED, "Access-Control-Request-Method": "GET"})
    allowed = preflight.headers["access-control-allow-headers"].lower().split(", ")
    assert {"range", "if-range", "if-match", "if-none-match"} <= set(allowed)
    part = await request("GET", url, {**ALLOWED, "Range": "bytes=1-2"})
    exposed = set(part.headers["access-control-expose-headers"].lower().split(", "))
    assert part.status == 206
    assert {"content-range", "accept-ranges", "etag", "content-disposition"} <= exposed & set(part.headers)
