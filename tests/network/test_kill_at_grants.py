"""``kill -9`` while links are made and revoked: the quota and the links tell the truth afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.client import TUS, patch_headers, request
from tests.support.faults import KilledAt, environment
from tests.support.grants import becomes, call, made, start_with
from tests.support.server import RunningServer
from tests.support.stacks import every_stack

pytestmark = [pytest.mark.timeout(180), pytest.mark.anyio, every_stack]

_RECORDS = "tusd_py.records.sql.records:SqlRecords"
_LINKS = "tusd_py.records.sql.links:SqlLinks"
_SETTINGS = {"QUOTAS__ENABLED": "true", "SCHEDULES__EXPIRE_GRANTS": "every 1 second"}


async def used(server: RunningServer) -> int:
    return int(json.loads((await call(server, "GET", "quota")).body)["quotas"][0]["used"])


async def links(server: RunningServer) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((await call(server, "GET", "upload-links")).body)["links"]
    return found


@pytest.mark.parametrize("when", ["after", pytest.param("before", marks=pytest.mark.long)])
async def test_killed_while_a_link_is_made(tmp_path: Path, stack: Mapping[str, str], when: str) -> None:
    """The link, its upload and the reserved quota are there together, or none of them is."""
    killed_at = KilledAt(f"{_RECORDS}.insert", when)
    server = start_with(
        tmp_path / "data", settings={**stack, **_SETTINGS}, variables=environment(tmp_path, killed_at=killed_at)
    )
    try:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await made(server, "upload-links", length=1000)
    finally:
        server.kill()
    server = start_with(tmp_path / "data", settings={**stack, **_SETTINGS})
    try:
        found = await links(server)
        uploads = json.loads((await call(server, "GET", "uploads")).body)["uploads"]
        assert (len(found), len(uploads), await used(server)) == ((0, 0, 0) if when == "before" else (1, 1, 1000))
    finally:
        server.stop()


@pytest.mark.long
async def test_killed_between_revocation_and_the_end_of_the_upload(tmp_path: Path, stack: Mapping[str, str]) -> None:
    """The link stays revoked, and the schedule ends the upload and releases what it reserved."""
    killed_at = KilledAt(f"{_LINKS}.revoke", "after")
    server = start_with(
        tmp_path / "data", settings={**stack, **_SETTINGS}, variables=environment(tmp_path, killed_at=killed_at)
    )
    try:
        link = await made(server, "upload-links", length=1000)
        path = link["url"].partition("/files/")[2]
        assert (await request("PATCH", link["url"], patch_headers(0), b"x" * 10)).status == 204
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await call(server, "DELETE", f"upload-links/{link['id']}")
    finally:
        server.kill()
    server = start_with(tmp_path / "data", settings={**stack, **_SETTINGS})
    try:
        assert (await request("HEAD", server.url + path, TUS)).status == 403

        async def is_released() -> bool:
            return await used(server) == 10

        await becomes(is_released)
    finally:
        server.stop()
