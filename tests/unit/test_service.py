"""The service opens and closes its backends, and builds the whole application."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.waiting import eventually
from tests.unit.web.asgi import ask
from tusd_py.contracts.records import RecordsError
from tusd_py.service import Service, create_app, page_options
from tusd_py.settings import Settings
from tusd_py.web.page.accepted import AcceptedFiles
from tusd_py.web.page.files import PageAccess, PageOptions

TUS = {"Tus-Resumable": "1.0.0", "Upload-Length": "3", "Content-Type": "application/offset+octet-stream"}


def settings_of(folder: Path, **sections: object) -> Settings:
    return Settings.model_validate({"storage": {"data_dir": str(folder)}, **sections})


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.anyio
async def test_open_and_close_are_repeatable(tmp_path: Path) -> None:
    """``open`` twice is ``open`` once; ``close`` closes every descriptor; the service can be opened again."""
    service = Service(settings_of(tmp_path))
    await service.close()
    before = open_files()
    for _ in range(2):
        await service.open()
        ports = await service.ports()
        assert await service.ports() is ports
        await service.open()
        await eventually(lambda: service.maintenance is not None and service.maintenance.is_leader)
        await service.close()
        assert open_files() == before


@pytest.mark.anyio
async def test_failed_open_leaves_nothing_open(tmp_path: Path) -> None:
    """``open`` is repeated with every request, so a leak would use up the file descriptors."""
    (tmp_path / "tusd.sqlite3").write_bytes(b"not a database" * 100)
    service = Service(settings_of(tmp_path))
    with pytest.raises(RecordsError):
        await service.open()
    before = open_files()
    for _ in range(3):
        with pytest.raises(RecordsError):
            await service.open()
    assert open_files() == before


@pytest.mark.anyio
async def test_routes_of_the_application(tmp_path: Path) -> None:
    """tus, page, health and metrics have their paths; the endpoint works without its last slash, without a redirect."""
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


@pytest.mark.anyio
async def test_routes_that_are_switched_off_404(tmp_path: Path) -> None:
    """Page and metrics can be switched off; with a public URL, links begin with it."""
    sections = {
        "server": {"page": False, "base_path": "/up/", "public_url": "https://u.example/x/"},
        "metrics": {"enabled": False},
    }
    app = create_app(settings_of(tmp_path, **sections))
    async with app.router.lifespan_context(app):
        assert (await ask(app, "GET", "/metrics")).status == (await ask(app, "GET", "/")).status == 404
        created = await ask(app, "POST", "/up/", TUS, b"abc")
        assert created.headers["location"].startswith("https://u.example/x/")
        one = created.headers["location"]
        part = await ask(app, "POST", "/up/", {**TUS, "Upload-Concat": "partial"}, b"abc")
        final = {"Tus-Resumable": "1.0.0", "Upload-Concat": f"final;{part.headers['location']}"}
        assert (await ask(app, "POST", "/up/", final)).status == 201
        assert one != part.headers["location"]


def test_page_offers_what_the_settings_allow(tmp_path: Path) -> None:
    """The page knows the limits of all files, and which forms visitors get."""
    options = page_options(settings_of(tmp_path))
    assert options == PageOptions(endpoint="/files/")
    rules = {"enabled": True, "rules": [{"extensions": ["png"], "size_max": 5}]}
    sections = {
        "server": {"public_url": "https://u.example/x/"},
        "uploads": {"length_max": 9},
        "page": {"title": "Files", "colour": "#123456"},
        "validation": rules,
        "api": {"enabled": True},
        "access": {"anonymous": "none"},
        "accounts": {"enabled": True},
        "codes": {"enabled": True},
        "links": {"enabled": True, "seconds_max": 60},
    }
    assert page_options(settings_of(tmp_path, **sections)) == PageOptions(
        endpoint="https://u.example/x/",
        title="Files",
        colour="#123456",
        length_max=9,
        accepted=AcceptedFiles(types=(".png",), by_name=True, size_max=5),
        access=PageAccess(login=True, codes=True, anonymous=False, link_seconds=60),
    )
    without_cookies = settings_of(tmp_path, **{**sections, "accounts": {"enabled": True, "cookies": False}})
    assert not page_options(without_cookies).access.login
