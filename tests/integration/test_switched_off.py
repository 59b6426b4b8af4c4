"""What ``uploads.downloads`` and ``uploads.termination`` forbid clients, the API forbids them too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.client import TUS, request
from tests.support.grants import ADMIN, ALICE, call, start
from tests.support.server import RunningServer, start_server

pytestmark = pytest.mark.anyio

SETTINGS = {"UPLOADS__DOWNLOADS": "false", "UPLOADS__TERMINATION": "false"}


async def create(server: RunningServer, headers: dict[str, str]) -> str:
    body = {**TUS, **headers, "Upload-Length": "4", "Content-Type": "application/offset+octet-stream"}
    answer = await request("POST", server.url, body, b"abcd")
    assert answer.status == 201, answer
    return answer.headers["location"].rpartition("/")[2]


async def statuses(server: RunningServer, headers: dict[str, str]) -> list[int]:
    upload = await create(server, headers)
    announced = {"file_name": "a", "file_size": 4, "chunk_count": 1}
    session = json.loads((await call(server, "POST", "sessions", announced, headers)).body)["id"]
    content = await call(server, "GET", f"uploads/{upload}/content", headers=headers)
    deleted = await call(server, "DELETE", f"uploads/{upload}", headers=headers)
    return [
        content.status,
        deleted.status,
        (await call(server, "DELETE", f"sessions/{session}", headers=headers)).status,
    ]


async def test_neither_content_nor_deletion_by_the_api_403(tmp_path: Path) -> None:
    """Everybody without access control, and owners with it, are refused; an admin is not."""
    server = start_server(tmp_path / "open", settings={**SETTINGS, "API__ENABLED": "true"})
    assert await statuses(server, {}) == [403, 403, 403]
    server.stop()
    server = start(tmp_path / "closed", **SETTINGS)
    assert await statuses(server, ALICE) == [403, 403, 403]
    assert await statuses(server, ADMIN) == [200, 204, 204]
    server.stop()
