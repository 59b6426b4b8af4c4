"""A server whose directory or bucket is not the one of its records does not touch an upload, and says why."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import TUS, create, patch_headers, request
from tests.support.content import MIB, content
from tests.support.postgres import shared_server
from tests.support.s3 import S3Server, running_s3
from tests.support.server import RunningServer, start_server

pytestmark = [pytest.mark.long, pytest.mark.timeout(240), pytest.mark.anyio]


def tusd_py(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    variables = {f"TUSD_PY_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "tusd_py", *arguments]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=120)


async def test_volume_that_is_not_mounted(tmp_path: Path) -> None:
    """An empty directory in place of the uploads: the server does not start, and clients lose no offset."""
    data, away = tmp_path / "data", tmp_path / "away"
    server = start_server(data)
    location = await create(server.url, 2 * MIB)
    assert 204 == (await request("PATCH", location, patch_headers(0), bytes(content(1, MIB)))).status
    server.stop()
    (data / "uploads").rename(away)
    (data / "uploads").mkdir()
    for command in ("serve", "check", "fsck"):
        run = tusd_py(command, "--data-dir", str(data), SERVER__PORT="0")
        assert (2, True) == (run.returncode, "is not where the uploads of this database are" in run.stdout + run.stderr)
    (data / "uploads").rmdir()
    away.rename(data / "uploads")
    server = start_server(data, port=server.port)
    assert str(MIB) == (await request("HEAD", location, TUS)).headers["upload-offset"]
    server.stop()


async def test_bytes_moved_without_their_mark(tmp_path: Path) -> None:
    """``tusd-py adopt-store`` accepts a directory that was copied without the mark."""
    data = tmp_path / "data"
    server = start_server(data)
    location = await create(server.url, 2 * MIB)
    assert 204 == (await request("PATCH", location, patch_headers(0), bytes(content(1, MIB)))).status
    server.stop()
    (data / "uploads" / ".store").unlink()
    assert 2 == tusd_py("serve", "--data-dir", str(data), SERVER__PORT="0").returncode
    assert 0 == tusd_py("adopt-store", "--data-dir", str(data)).returncode
    server = start_server(data, port=server.port)
    assert str(MIB) == (await request("HEAD", location, TUS)).headers["upload-offset"]
    server.stop()


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with running_s3() as running:
        for name in ("uploads", "other"):
            running.client().create_bucket(Bucket=name)
        yield running


@pytest.mark.parametrize("difference", [{"S3__BUCKET": "other"}, {"S3__PREFIX": "a/"}, {"RECORDS__URL": "another"}])
async def test_server_with_other_settings_than_the_first(
    s3: S3Server, tmp_path: Path, difference: dict[str, str]
) -> None:
    """With another bucket, prefix or database than the first server the second one is not ready, and changes nothing.

    The client continues at the first one where it was.
    """
    postgres = shared_server()
    own = s3.settings("uploads", S3__PREFIX=f"{tmp_path.name}/", RECORDS__URL=postgres.url(postgres.create_database()))
    if "RECORDS__URL" in difference:
        difference = {"RECORDS__URL": postgres.url(postgres.create_database())}
    data = bytes(content(2, 7 * MIB))
    first = start_server(tmp_path / "first", settings=own)
    second: RunningServer | None = None
    try:
        location = await create(first.url, len(data))
        assert 204 == (await request("PATCH", location, patch_headers(0), data[: 6 * MIB])).status
        second = start_server(tmp_path / "second", settings=own | difference)
        text = ""

        async def is_refused() -> bool:
            nonlocal text
            ready = await request("GET", f"{second.root}/readyz", {})
            text = json.loads(ready.body)["checks"]["storage"]
            return 503 == ready.status and ("of another database" in text or "is not where" in text)

        async with asyncio.timeout(60):
            while not await is_refused():  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(0.2)
        at_second = location.replace(f":{first.port}/", f":{second.port}/")
        refused = await request("PATCH", at_second, patch_headers(6 * MIB), data[6 * MIB :])
        assert refused.status in (404, 503)
        assert str(6 * MIB) == (await request("HEAD", location, TUS)).headers["upload-offset"]
        assert 204 == (await request("PATCH", location, patch_headers(6 * MIB), data[6 * MIB :])).status
        assert data == (await request("GET", location, {})).body
        checked = tusd_py("check", "--data-dir", str(tmp_path / "second"), **(own | difference))
        assert (2, True) == (checked.returncode, text in checked.stdout)
    finally:
        for each in (first, second):
            if each is not None:
                each.kill()
