"""``/healthz`` and ``/readyz``: statuses, checks, and a bounded time for each probe."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
from starlette.applications import Starlette

from tests.faults.failing import FailingStore, Faults
from tests.support.harness import EPOCH, UploadsHarness
from tests.support.processing import with_ports
from tests.support.virtual_time import VIRTUAL_TIME
from tests.unit.web.asgi import ask
from tusd_py.contracts.store import StoreFull, StoreUnavailable
from tusd_py.model.jobs import ClosedEndpoint
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.ports import Ports
from tusd_py.web import health
from tusd_py.web.request_body import ActiveBodies


class FailingProbe(FailingStore):
    """A store whose probe fails or hangs."""

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
                continue  # like a system call on a disk that does not respond


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


def app_of(
    harness: UploadsHarness, active_bodies: ActiveBodies | None = None, refuse: Exception | None = None
) -> Starlette:
    async def ports() -> Ports:
        if refuse is not None:
            raise refuse
        return harness.ports

    return Starlette(routes=health.health_routes(health.Readiness(ports, active_bodies or ActiveBodies())))


@pytest.mark.anyio
async def test_healthz_and_readyz_200() -> None:
    """GET and HEAD are answered 200 and may not be cached."""
    app = app_of(UploadsHarness())
    alive, ready, head = (
        await ask(app, "GET", "/healthz"),
        await ask(app, "GET", "/readyz"),
        await ask(app, "HEAD", "/readyz"),
    )
    assert (alive.status, ready.status, head.status) == (200, 200, 200)
    assert json.loads(ready.body)["checks"] == {"draining": "ok", "records": "ok", "storage": "ok", "locks": "ok"}
    assert ready.headers["cache-control"] == alive.headers["cache-control"] == "no-store"


@pytest.mark.anyio
async def test_readyz_names_the_failure_503() -> None:
    """A full store, a shutdown and a database that cannot be opened are 503 with a sentence; ``/healthz`` stays 200."""
    store = FailingProbe()
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


class FailingDispatch:
    """Endpoint states in which the workers have reported a failure."""

    async def find_failure(self, name: str) -> ClosedEndpoint:
        return ClosedEndpoint(name=name, reason="Redis refuses writes", since=EPOCH)


@pytest.mark.anyio
async def test_readyz_warns_of_jobs_that_wait() -> None:
    """The server is ready, since it takes uploads; the reason why their jobs wait is a warning."""
    harness = UploadsHarness()
    with_ports(harness, endpoint_states=FailingDispatch())
    answer = await ask(app_of(harness), "GET", "/readyz")
    content = json.loads(answer.body)
    assert (answer.status, content["status"]) == (200, "ok")
    assert content["warnings"]["worker"].endswith("Redis refuses writes")


@pytest.mark.anyio
async def test_readyz_names_a_path_that_is_not_utf8_503() -> None:
    """The bytes of a path that JSON cannot hold are replaced."""
    path = os.fsdecode(b"/caf\xe9")
    store = FailingProbe()
    store.failure = StoreUnavailable(f"{path} is full")
    answer = await ask(app_of(UploadsHarness(store=store)), "GET", "/readyz")
    assert (answer.status, json.loads(answer.body)["checks"]["storage"]) == (503, "/caf\ufffd is full")
    answer = await ask(app_of(UploadsHarness(), refuse=OSError(2, "no such directory", path)), "GET", "/readyz")
    assert 503 == answer.status


@pytest.mark.anyio
async def test_hanging_probe_runs_once_503() -> None:
    """A probe that hangs is answered in bounded time, and a second request does not start another one."""
    store = FailingProbe()
    store.hang = asyncio.Event()
    app = app_of(UploadsHarness(store=store))
    for _ in range(2):
        answer = await ask(app, "GET", "/readyz")
        assert (answer.status, json.loads(answer.body)["checks"]["storage"]) == (503, "no answer within 2 seconds")
    assert store.probes == 1
    store.hang.set()
    await asyncio.sleep(0)
    assert (await ask(app, "GET", "/readyz")).status == 200


@pytest.mark.anyio
async def test_unexpected_exception_is_raised() -> None:
    """Only exceptions of the contracts become checks; others are raised."""
    store = FailingProbe()
    store.failure = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        await ask(app_of(UploadsHarness(store=store)), "GET", "/readyz")
