"""From settings to a server: opened, swept, closed, opened again; and nothing kept open that could not be."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.harness import CALLER, Clock, FakeBody
from tests.support.loops import eventually, on_loop
from tests.unit.web.asgi import ask
from tusd_py.contracts.records import RecordsError
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Status
from tusd_py.protocol.requests import BodyInfo, Create
from tusd_py.service import Service, create_app
from tusd_py.settings import Settings
from tusd_py.uploads.create import create
from tusd_py.uploads.expire import Swept
from tusd_py.wiring import migrate_records, pending_migrations, sweep_once, utc_now

TUS = {"Tus-Resumable": "1.0.0", "Upload-Length": "3", "Content-Type": "application/offset+octet-stream"}


def settings_of(folder: Path, **sections: object) -> Settings:
    return Settings.model_validate({"storage": {"data_dir": str(folder)}, **sections})


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@on_loop
async def test_opened_and_closed_as_often_as_one_likes(tmp_path: Path) -> None:
    """Twice is once; closed it lets go of every descriptor; opened again it has what it had."""
    service = Service(settings_of(tmp_path))
    await service.close()
    before = open_files()
    for _ in range(2):
        await service.open()
        ports = await service.ports()
        assert await service.ports() is ports
        await service.open()
        await eventually(lambda: service._leading is not None)
        await service.close()
        assert open_files() == before


@on_loop
async def test_a_failed_opening_keeps_nothing_open(tmp_path: Path) -> None:
    """Tried again with every request, it would run out of descriptors."""
    (tmp_path / "tusd.sqlite3").write_bytes(b"not a database" * 100)
    service = Service(settings_of(tmp_path))
    with pytest.raises(RecordsError):
        await service.open()
    before = open_files()
    for _ in range(3):
        with pytest.raises(RecordsError):
            await service.open()
    assert open_files() == before


@on_loop
async def test_the_sweeper_runs_by_itself_in_one_process_at_a_time(tmp_path: Path) -> None:
    """Of two services over one folder one sweeps; when it is closed the other does."""
    clock = Clock(datetime.now(UTC))
    settings = settings_of(tmp_path, expiration={"unfinished_seconds": 10, "sweep_interval_seconds": 0.01})
    first, second = Service(settings, clock=clock), Service(settings, clock=clock)
    await first.open()
    await eventually(lambda: first._leading is not None)
    await second.open()
    ports = await second.ports()
    for leading in (first, second):
        made = (await create(ports, Create(length=3), CALLER, FakeBody())).upload
        clock.move(11)
        expired = leading.metrics.expired
        await eventually(lambda expired=expired: expired._value.get() == 1)  # type: ignore[misc]
        record = await ports.records.find(made.id)
        assert record is not None
        assert record.status is Status.EXPIRED
        if leading is first:
            assert second._leading is None
            await first.close()
    await second.close()


@on_loop
async def test_a_sweep_that_fails_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The database is away for a moment: logged, and the sweeping goes on."""
    clock = Clock(datetime.now(UTC))
    settings = settings_of(tmp_path, expiration={"unfinished_seconds": 10, "sweep_interval_seconds": 0.01})
    service = Service(settings, clock=clock)
    ports = await service.ports()
    await eventually(lambda: service._leading is not None)
    await create(ports, Create(length=3), CALLER, FakeBody())
    clock.now = "no time"  # type: ignore[assignment]  # anything that fails within a pass
    await eventually(lambda: "sweeping failed" in caplog.text)
    clock.now = datetime.now(UTC) + timedelta(seconds=20)
    await eventually(lambda: service.metrics.expired._value.get() == 1)
    await service.close()


@on_loop
async def test_one_pass_by_hand(tmp_path: Path) -> None:
    """``tusd-py sweep``: beside a server or without one, and it waits for what it has begun."""
    settings = settings_of(tmp_path, expiration={"unfinished_seconds": 0.001})
    service = Service(settings)
    await create(await service.ports(), Create(length=3), CALLER, FakeBody())
    await service.close()
    await asyncio.sleep(0.01)
    assert await sweep_once(settings) == Swept(expired=1)
    memory = Settings.model_validate({"storage": {"kind": "memory"}, "records": {"url": "memory"}})
    assert await sweep_once(memory) == Swept()


def test_migrating(tmp_path: Path) -> None:
    """What is pending is told, done, and then no more; memory has no schema."""
    settings = settings_of(tmp_path / "data")
    pending = pending_migrations(settings)
    assert pending
    assert migrate_records(settings) == pending
    assert pending_migrations(settings) == migrate_records(settings) == []
    memory = Settings.model_validate({"records": {"url": "memory"}})
    assert pending_migrations(memory) == migrate_records(memory) == []


@on_loop
async def test_the_whole_application(tmp_path: Path) -> None:
    """tus, page, health and metrics, each where it belongs, with and without a slash, and never a redirect."""
    app = create_app(settings_of(tmp_path))
    async with app.router.lifespan_context(app):
        for path in ("/files", "/files/"):
            assert (await ask(app, "OPTIONS", path, TUS)).status == 204
            assert (await ask(app, "POST", path, TUS, b"abc")).status == 201
        assert (await ask(app, "GET", "/readyz")).status == 200
        assert (await ask(app, "GET", "/")).status == 200
        metrics = await ask(app, "GET", "/metrics")
        assert b"tusd_uploads_created 2.0" in metrics.body
        for path in ("/filesystem", "/healthz/", "/nothing"):
            assert (await ask(app, "GET", path)).status == 404
        app.state.drain()
        assert (await ask(app, "GET", "/readyz")).status == 503


@on_loop
async def test_what_is_switched_off_is_not_there(tmp_path: Path) -> None:
    """Without page and metrics their paths are unknown; with a public URL links begin with it."""
    sections = {
        "server": {"page": False, "base_path": "/up/", "public_url": "https://u.example/x/"},
        "metrics": {"enabled": False},
    }
    app = create_app(settings_of(tmp_path, **sections))
    async with app.router.lifespan_context(app):
        assert (await ask(app, "GET", "/metrics")).status == (await ask(app, "GET", "/")).status == 404
        made = await ask(app, "POST", "/up/", TUS, b"abc")
        assert made.headers["location"].startswith("https://u.example/x/")
        one = made.headers["location"]
        part = await ask(app, "POST", "/up/", {**TUS, "Upload-Concat": "partial"}, b"abc")
        joining = {"Tus-Resumable": "1.0.0", "Upload-Concat": f"final;{part.headers['location']}"}
        assert (await ask(app, "POST", "/up/", joining)).status == 201
        assert one != part.headers["location"]


@on_loop
async def test_power_is_a_setting(tmp_path: Path) -> None:
    """With ``durability = "power"`` every save is synced, not the last alone; ids cannot be guessed."""
    service = Service(settings_of(tmp_path, storage={"data_dir": str(tmp_path), "durability": "power"}))
    ports = await service.ports()
    assert ports.policy.durable_saves
    body = BodyInfo(length=3)
    made = await create(ports, Create(length=9, body=body), CALLER, FakeBody(b"abc"))
    assert len(made.upload.id) == 32
    assert abs(made.upload.created_at - utc_now()) < timedelta(minutes=1)
    assert not ports.hooks.handles(Hook.POST_FINISH)
    await service.close()
