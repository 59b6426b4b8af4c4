"""Schedules of a running server: listed, run now by the API, a backup by its worker, and the audit entry of the run."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import create, request
from tests.support.server import start_server

pytestmark = pytest.mark.anyio


async def schedules(root: str) -> dict[str, dict[str, Any]]:
    answer = await request("GET", f"{root}/api/schedules", {})
    assert answer.status == 200, answer
    return {each["name"]: each for each in json.loads(answer.body)["schedules"]}


async def test_backup_by_schedule(tmp_path: Path) -> None:
    """It is due at its time, runs once when an operator asks for it, and leaves a complete backup."""
    backups = tmp_path / "backups"
    settings = {
        "API__ENABLED": "true",
        "AUDIT__ENABLED": "true",
        "SCHEDULES__BACKUP_DIRECTORY": str(backups),
        "SCHEDULES__BACKUP_BYTES": "copy",
        "SCHEDULES__TIME_ZONE": "Europe/Berlin",
    }
    server = await asyncio.to_thread(start_server, tmp_path / "data", settings=settings)
    try:
        await create(server.url, 5)
        deadline = time.monotonic() + 60
        while "backup" not in (planned := await schedules(server.root)):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert (planned["backup"]["outcome"], planned["backup"]["last_run"]) == ("never", None)
        assert planned["backup"]["timing"] == "02:00 Europe/Berlin"
        answer = await request("POST", f"{server.root}/api/schedules/backup/run", {})
        assert answer.status == 200, answer
        assert (await request("POST", f"{server.root}/api/schedules/nothing/run", {})).status == 404
        while (done := (await schedules(server.root))["backup"])["outcome"] != "done":
            assert done["outcome"] in ("never", "running"), done
            assert time.monotonic() < deadline, done
            await asyncio.sleep(0.1)
        (backup,) = backups.iterdir()
        assert done["detail"] == str(backup)
        assert {path.name for path in backup.iterdir()} == {"manifest.json", "tusd.sqlite3", "uploads"}
        assert done["next_run"] > done["ended_at"]
        answer = await request("GET", f"{server.root}/api/audit?kind=schedule", {})
        assert [each["id"] for each in json.loads(answer.body)["entries"]] == ["backup"]
        answer = await request("GET", f"{server.root}/metrics", {})
        assert b'tusd_py_schedule_failed{schedule="backup"} 0.0' in answer.body
    finally:
        await asyncio.to_thread(server.stop)
