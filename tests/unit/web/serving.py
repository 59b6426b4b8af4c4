"""A ``Service`` in memory, and requests to its tus endpoint under a mount."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tests.unit.web.asgi import Outgoing, ask
from tusd_py.contracts.hooks import HookFunction
from tusd_py.model.hooks import Hook
from tusd_py.service import Service
from tusd_py.settings import Settings

TUS = {"Tus-Resumable": "1.0.0"}
MOUNTED = "/files"


@asynccontextmanager
async def serving(
    functions: dict[Hook, HookFunction] | None = None,
    *,
    server: Mapping[str, object] | None = None,
    trailers: bool = False,
    **uploads: object,
) -> AsyncIterator[Service]:
    """A service with these hooks and these settings of the sections ``server`` and ``uploads``."""
    settings = Settings.model_validate(
        {"storage": {"kind": "memory"}, "records": {"url": "memory"}, "server": server or {}, "uploads": uploads}
    )
    service = Service(settings, functions, trailers=trailers)
    try:
        yield service
    finally:
        await service.close()


async def request(
    service: Service, method: str, path: str, headers: dict[str, str] | None = None, data: bytes = b"", **more: object
) -> Outgoing:
    """One request of tus 1.0 for ``path`` below the mount; ``more`` are entries of the ASGI scope."""
    return await ask(
        service.endpoint, method, MOUNTED + path, {**TUS, **(headers or {})}, data, root_path=MOUNTED, **more
    )


async def create(service: Service, content: bytes, length: int | None = None) -> str:
    """Create an upload with ``content`` in it and return its path below the mount."""
    headers = {"Upload-Length": str(length or len(content)), "Content-Type": "application/offset+octet-stream"}
    answer = await request(service, "POST", "/", headers, content)
    assert answer.status == 201, answer.body
    return answer.headers["location"].removeprefix(MOUNTED)


def patch_headers(offset: int, length: int) -> dict[str, str]:
    """The headers of a PATCH whose body has ``length`` bytes."""
    return {
        **TUS,
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
        "Content-Length": str(length),
    }


def metric(service: Service, line: str) -> float:
    """The value of the metric with this name and these labels."""
    lines = service.metrics.exposition().decode().splitlines()
    return sum(float(found.rpartition(" ")[2]) for found in lines if found.startswith(line + " "))
