"""``/healthz``: the process answers. ``/readyz``: it could take an upload now, or says what keeps it from that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.store import StoreError
from tusd_py.uploads.ports import Ports
from tusd_py.web.draining import Draining

_PROBE_SECONDS = 2.0


def health_routes(open_ports: Callable[[], Awaitable[Ports]], draining: Draining) -> list[BaseRoute]:
    """The routes; GET and HEAD, never cached."""

    async def healthz(_: Request) -> JSONResponse:
        return _answer(200, {"status": "ok"})

    async def readyz(_: Request) -> JSONResponse:
        ports = await open_ports()
        checks = {
            "records": await _check(ports.records.probe()),
            "storage": await _check(ports.store.probe()),
            "draining": "the server is shutting down" if draining.has_begun else "ok",
        }
        is_ready = set(checks.values()) == {"ok"}
        return _answer(200 if is_ready else 503, {"status": "ok" if is_ready else "unavailable", "checks": checks})

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


async def _check(probe: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await probe
    except (RecordsError, StoreError) as failure:
        return str(failure)
    except TimeoutError:
        return f"no answer within {_PROBE_SECONDS:g} seconds"
    return "ok"


def _answer(status: int, content: object) -> JSONResponse:
    return JSONResponse(content, status, headers={"cache-control": "no-store"})
