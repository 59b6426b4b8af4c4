"""From settings to ports, and the operations that commands run without a server."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.harness import CALLER, FakeBody
from tusd_py.model.hooks import Hook
from tusd_py.protocol.requests import BodyInfo, Create
from tusd_py.service import Service
from tusd_py.settings import Settings
from tusd_py.uploads.create import create
from tusd_py.uploads.expire import Swept
from tusd_py.wiring.clock import utc_now
from tusd_py.wiring.jobs import subscribe_to_jobs
from tusd_py.wiring.ports import sweep_once


def settings_of(folder: Path, **sections: object) -> Settings:
    return Settings.model_validate({"storage": {"data_dir": str(folder)}, **sections})


@pytest.mark.anyio
async def test_sweep_once(tmp_path: Path) -> None:
    """One pass removes expired uploads and waits for its background work; with memory backends there is nothing."""
    settings = settings_of(tmp_path, expiration={"unfinished_seconds": 0.001})
    service = Service(settings)
    await create(await service.ports(), Create(length=3), CALLER, FakeBody())
    await service.close()
    await asyncio.sleep(0.01)
    assert await sweep_once(settings) == Swept(expired=1)
    memory = Settings.model_validate({"storage": {"kind": "memory"}, "records": {"url": "memory"}})
    assert await sweep_once(memory) == Swept()


@pytest.mark.anyio
async def test_power_durability_syncs_every_save(tmp_path: Path) -> None:
    """With ``durability = "power"`` every save is synced, not only the last; ids have 128 random bits."""
    service = Service(settings_of(tmp_path, storage={"data_dir": str(tmp_path), "durability": "power"}))
    ports = await service.ports()
    assert ports.policy.durable_saves
    body = BodyInfo(length=3)
    made = await create(ports, Create(length=9, body=body), CALLER, FakeBody(b"abc"))
    assert len(made.upload.id) == 32
    assert abs(made.upload.created_at - utc_now()) < timedelta(minutes=1)
    assert not ports.hooks.handles(Hook.POST_FINISH)
    await service.close()


@pytest.mark.anyio
async def test_new_data_is_private(tmp_path: Path) -> None:
    """Under the usual umask other users can read neither the database nor the directories, however they are made."""
    for name, records in (("here", {}), ("there", {"url": f"sqlite:///{tmp_path}/db/records.sqlite3"})):
        before = os.umask(0o022)
        try:
            settings = settings_of(tmp_path / name, records=records)
            with subscribe_to_jobs(settings, lambda: None):
                service = Service(settings)
                await create(await service.ports(), Create(length=3), CALLER, FakeBody())
                others = [path for path in tmp_path.rglob("*") if not path.is_socket() and path.lstat().st_mode & 0o007]
                await service.close()
        finally:
            os.umask(before)
        assert [] == others
