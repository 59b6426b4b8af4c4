"""CORS on a running server: preflights, refusals and successes, for allowed origins and for strangers."""

from __future__ import annotations

import pytest

from tests.support.client import TUS, create, patch_headers, request
from tests.support.server import RunningServer

SETTINGS = {"CORS__ALLOW_ORIGINS": '["https://app.example"]', "CORS__ALLOW_CREDENTIALS": "true"}
OURS, STRANGE = {"Origin": "https://app.example"}, {"Origin": "https://evil.example"}


@pytest.mark.anyio
async def test_a_preflight_needs_no_version(server: RunningServer) -> None:
    """Browsers send no Tus-Resumable with it; every method and header of the protocol is allowed."""
    headers = {**OURS, "Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "upload-offset"}
    answer = await request("OPTIONS", server.url, headers)
    assert answer.status in (200, 204)
    assert answer.headers["access-control-allow-origin"] == OURS["Origin"]
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert "Upload-Offset" in answer.headers["access-control-allow-headers"]


@pytest.mark.anyio
async def test_every_answer_can_be_read(server: RunningServer) -> None:
    """Granted or refused, early or late, known upload or not."""
    url = await create(server.url, 4)
    for method, target, headers, body in (
        ("HEAD", url, TUS, None),
        ("PATCH", url, patch_headers(3), b"x"),
        ("PATCH", url, {"Upload-Offset": "0"}, b"x"),
        ("HEAD", f"{server.url}unknown", TUS, None),
        ("PUT", url, TUS, None),
    ):
        answer = await request(method, target, {**headers, **OURS}, body)
        assert answer.headers["access-control-allow-origin"] == OURS["Origin"], answer
        assert "Upload-Offset" in answer.headers["access-control-expose-headers"]
        assert "Origin" in answer.headers["vary"]


@pytest.mark.anyio
async def test_strangers_are_told_nothing(server: RunningServer) -> None:
    """Their browser keeps the answer from the page, and caches keep it apart."""
    answer = await request("HEAD", await create(server.url, 4), {**TUS, **STRANGE})
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"
