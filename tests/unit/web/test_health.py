"""Health: alive whatever happens, ready only when an upload could be taken, and always an answer in time."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.applications import Starlette

from tests.faults.failing import FailingStore, Faults
from tests.support.harness import UploadsHarness
from tests.support.loops import on_loop
from tests.unit.web.asgi import ask
from tusd_py.contracts.store import StoreFull
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.ports import Ports
from tusd_py.web import health
from tusd_py.web.request_body import ActiveBodies


class Troubled(FailingStore):
    """A store whose probe fails, or hangs."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(bytes_max=1), Faults())
        self.failure: Exception | None = None
        self.hang: asyncio.Event | None = None
        self.probes = 0

    async def probe(self) -> None:
        self.probes += 1
        if self.failure is not None:
            raise self.failure
        while self.hang is not None and not self.hang.is_set():
            try:
                await self.hang.wait()
            except asyncio.CancelledError:
                continue  # as a call into a disk that is away


def app_of(
    harness: UploadsHarness, active_bodies: ActiveBodies | None = None, refuse: Exception | None = None
) -> Starlette:
    async def ports() -> Ports:
        if refuse is not None:
            raise refuse
        return harness.ports

    return Starlette(routes=health.health_routes(ports, active_bodies or ActiveBodies()))


@on_loop
async def test_alive_and_ready() -> None:
    """Never cached; HEAD works too."""
    app = app_of(UploadsHarness())
    alive, ready, head = (
        await ask(app, "GET", "/healthz"),
        await ask(app, "GET", "/readyz"),
        await ask(app, "HEAD", "/readyz"),
    )
    assert (alive.status, ready.status, head.status) == (200, 200, 200)
    assert json.loads(ready.body)["checks"] == {"draining": "ok", "records": "ok", "storage": "ok"}
    assert ready.headers["cache-control"] == alive.headers["cache-control"] == "no-store"


@on_loop
async def test_not_ready_says_why() -> None:
    """A full disk, a server that shuts down, a database that cannot be opened: 503 and a sentence."""
    store = Troubled()
    store.failure = StoreFull("the disk has no room left")
    answer = await ask(app_of(UploadsHarness(store=store)), "GET", "/readyz")
    assert (answer.status, json.loads(answer.body)["checks"]["storage"]) == (503, "the disk has no room left")
    active_bodies = ActiveBodies()
    active_bodies.drain()
    answer = await ask(app_of(UploadsHarness(), active_bodies), "GET", "/readyz")
    assert (answer.status, json.loads(answer.body)["checks"]["draining"]) == (503, "the server is shutting down")
    broken = app_of(UploadsHarness(), refuse=OSError("no such directory"))
    answer = await ask(broken, "GET", "/readyz")
    assert (answer.status, json.loads(answer.body)["checks"]["open"]) == (503, "no such directory")
    assert (await ask(broken, "GET", "/healthz")).status == 200


@on_loop
async def test_a_disk_that_hangs_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be cancelled: the answer comes in time, and no second thread is lost to it."""
    monkeypatch.setattr(health, "_PROBE_SECONDS", 0.01)
    store = Troubled()
    store.hang = asyncio.Event()
    app = app_of(UploadsHarness(store=store))
    for _ in range(2):
        answer = await asyncio.wait_for(ask(app, "GET", "/readyz"), 5)
        assert (answer.status, json.loads(answer.body)["checks"]["storage"]) == (503, "no answer within 0.01 seconds")
    assert store.probes == 1
    store.hang.set()
    await asyncio.sleep(0.005)
    assert (await ask(app, "GET", "/readyz")).status == 200


@on_loop
async def test_a_mistake_of_ours_is_not_hidden() -> None:
    """Only failures that the contracts know are told as such."""
    store = Troubled()
    store.failure = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        await ask(app_of(UploadsHarness(store=store)), "GET", "/readyz")
