"""``/healthz``: the process is alive. ``/readyz``: the server can accept uploads, or the reasons why it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.store import StoreError
from tusd_py.uploads.ports import Ports
from tusd_py.web.request_body import ActiveBodies

_PROBE_SECONDS = 2.0


def health_routes(open_ports: Callable[[], Awaitable[Ports]], active_bodies: ActiveBodies) -> list[BaseRoute]:
    """Return the routes. They answer GET and HEAD, and no response may be cached."""
    records, storage, locks = _Probe(), _Probe(), _Probe()

    async def healthz(_: Request) -> JSONResponse:
        return _answer(200, {"status": "ok"})

    async def readyz(_: Request) -> JSONResponse:
        checks = {"draining": "the server is shutting down" if active_bodies.is_draining else "ok"}
        try:
            ports = await open_ports()
        except (OSError, RecordsError, StoreError) as failure:
            checks["open"] = str(failure)
        else:
            checks["records"] = await records.run(ports.records.probe)
            checks["storage"] = await storage.run(ports.store.probe)
            checks["locks"] = await locks.run(ports.locker.probe)
        is_ready = set(checks.values()) == {"ok"}
        return _answer(200 if is_ready else 503, {"status": "ok" if is_ready else "unavailable", "checks": checks})

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


class _Probe:
    """Runs one probe at a time: a call into a hanging disk cannot be cancelled, and each one would block a thread."""

    def __init__(self) -> None:
        self._running: asyncio.Task[None] | None = None

    async def run(self, probe: Callable[[], Coroutine[Any, Any, None]]) -> str:
        """Return "ok" or a sentence that describes the failure, within ``_PROBE_SECONDS``."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(probe())
        running = self._running
        await asyncio.wait([running], timeout=_PROBE_SECONDS)
        if not running.done():
            return f"no answer within {_PROBE_SECONDS:g} seconds"
        failure = running.exception()
        if isinstance(failure, RecordsError | StoreError):
            return str(failure)
        if isinstance(failure, OSError):
            return f"{failure.filename}: {failure.strerror}" if failure.filename else str(failure)
        if failure is not None:
            raise failure
        return "ok"


def _answer(status: int, content: object) -> JSONResponse:
    return JSONResponse(content, status, headers={"cache-control": "no-store"})
