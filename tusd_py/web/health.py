"""``/healthz``: the process is alive. ``/readyz``: the server can accept uploads, or the reasons why it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from tusd_py.contracts.endpoint_states import DISPATCH
from tusd_py.contracts.locker import LocksUnavailable
from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.store import StoreError
from tusd_py.model.text import valid_unicode
from tusd_py.uploads.ports import Ports
from tusd_py.views import format_time
from tusd_py.web.request_body import ActiveBodies

_PROBE_SECONDS = 2.0


class Readiness:
    """Finds out whether the server can accept uploads, in bounded time."""

    def __init__(self, open_ports: Callable[[], Awaitable[Ports]], active_bodies: ActiveBodies) -> None:
        self._open_ports = open_ports
        self._active_bodies = active_bodies
        self._records, self._storage, self._locks = _Probe(), _Probe(), _Probe()

    async def report(self) -> tuple[bool, dict[str, object]]:
        """Whether it can, and the checks as JSON."""
        checks = {"draining": "the server is shutting down" if self._active_bodies.is_draining else "ok"}
        warnings: dict[str, object] = {}
        try:
            ports = await self._open_ports()
        except (OSError, RecordsError, StoreError) as error:
            checks["open"] = valid_unicode(str(error))  # it may have a path that is not UTF-8
        else:
            checks["records"] = await self._records.run(ports.records.probe)
            checks["storage"] = await self._storage.run(ports.store.probe)
            checks["locks"] = await self._locks.run(ports.locker.probe)
            # Not a check: uploads are accepted while their jobs wait.
            if checks["records"] == "ok" and (failure := await _dispatch_failure(ports)):
                warnings = {"warnings": {"worker": failure}}
        is_ready = set(checks.values()) == {"ok"}
        status = "ok" if is_ready else "unavailable"
        return is_ready, {"status": status, "checks": checks, **warnings}


def health_routes(readiness: Readiness) -> list[BaseRoute]:
    """Return the routes. They answer GET and HEAD, and no response may be cached."""

    async def healthz(_: Request) -> JSONResponse:
        return _answer(200, {"status": "ok"})

    async def readyz(_: Request) -> JSONResponse:
        is_ready, content = await readiness.report()
        return _answer(200 if is_ready else 503, content)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


async def _dispatch_failure(ports: Ports) -> str:
    """Why the workers cannot dispatch jobs, as they have reported it; empty if they can."""
    try:
        failure = None if ports.endpoint_states is None else await ports.endpoint_states.find_failure(DISPATCH)
    except RecordsError:
        return ""
    return f"jobs wait since {format_time(failure.since)}: {failure.reason}" if failure else ""


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
        if isinstance(failure, RecordsError | StoreError | LocksUnavailable):
            return valid_unicode(str(failure))
        if isinstance(failure, OSError):
            return valid_unicode(f"{failure.filename}: {failure.strerror}" if failure.filename else str(failure))
        if failure is not None:
            raise failure
        return "ok"


def _answer(status: int, content: object) -> JSONResponse:
    return JSONResponse(content, status, headers={"cache-control": "no-store"})
