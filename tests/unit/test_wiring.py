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
from tusd_py.wiring import (
    exposed_data,
    migrate_records,
    pending_migrations,
    subscribe_to_jobs,
    sweep_once,
    utc_now,
)


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


def test_migrations(tmp_path: Path) -> None:
    """Pending migrations are listed, applied, and then gone; records in memory have none."""
    settings = settings_of(tmp_path / "data")
    pending = pending_migrations(settings)
    assert pending
    assert migrate_records(settings) == pending
    assert pending_migrations(settings) == migrate_records(settings) == []
    memory = Settings.model_validate({"records": {"url": "memory"}})
    assert pending_migrations(memory) == migrate_records(memory) == []


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


#: Names of directories with a meaning in URLs, and one that is not UTF-8.
ODD_NAMES = ["a%20b", "a b", "a?mode=ro", "a?b", "a#b", "file:x", os.fsdecode(b"caf\xe9")]


def test_every_data_directory_has_its_own_database(tmp_path: Path) -> None:
    """The database is in the data directory whatever characters its path has, and check names that path."""
    for number, name in enumerate(ODD_NAMES):
        settings = settings_of(tmp_path / name)
        assert pending_migrations(settings), name
        migrate_records(settings)
        assert settings.database_path == str(tmp_path / name / "tusd.sqlite3")
        assert ["tusd.sqlite3"] == sorted(os.listdir(tmp_path / name))
        assert number + 1 == len(os.listdir(tmp_path))


def test_url_of_records_is_decoded_like_any_url(tmp_path: Path) -> None:
    """An explicit URL has percent-encoded characters and options; its path is the file that is opened."""
    settings = settings_of(tmp_path, records={"url": f"sqlite:///{tmp_path}/a%20b%3F.sqlite3?timeout=3"})
    migrate_records(settings)
    assert settings.database_path == str(tmp_path / "a b?.sqlite3")
    assert ["a b?.sqlite3"] == os.listdir(tmp_path)


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


def test_exposed_data(tmp_path: Path) -> None:
    """What other users can read is named, with what to do; nothing else is."""
    settings = settings_of(tmp_path / "data")
    assert [] == exposed_data(settings)
    migrate_records(settings)
    assert [] == exposed_data(settings)
    (tmp_path / "data").chmod(0o755)
    assert [f"other users can enter {tmp_path}/data (mode 0755): chmod 0750 it"] == exposed_data(settings)
    (tmp_path / "data/tusd.sqlite3").chmod(0o644)
    assert f"other users can read {tmp_path}/data/tusd.sqlite3 (mode 0644): chmod 0640 it" in exposed_data(settings)
