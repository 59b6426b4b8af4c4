"""From settings to a running server: the only place that sees both a contract and what fulfils it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from tusd_py.contracts.gate import Hook
from tusd_py.contracts.locker import Hold, Locker
from tusd_py.contracts.records import Records
from tusd_py.contracts.store import Store
from tusd_py.hooks.callables import CallableGate, HookFunction
from tusd_py.locking.file import FileLocker
from tusd_py.locking.memory import MemoryLocker
from tusd_py.protocol.parsing import Parser
from tusd_py.protocol.responses import Formatter, extensions
from tusd_py.protocol.rules import Limits
from tusd_py.records.memory import MemoryRecords
from tusd_py.records.schema import bring_up_to_date, pending
from tusd_py.records.sql import SqlRecords
from tusd_py.settings import Settings
from tusd_py.storage.disk import DiskStore
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.background import Background
from tusd_py.uploads.expire import Swept, resume, sweep
from tusd_py.uploads.ports import Pace, Ports
from tusd_py.web.app import Below, ServerApp, metrics_route
from tusd_py.web.cors import Cors
from tusd_py.web.draining import Draining
from tusd_py.web.health import health_routes
from tusd_py.web.location import Locator
from tusd_py.web.metrics import Metrics
from tusd_py.web.page import page_routes
from tusd_py.web.tus import TusEndpoint

log = logging.getLogger(__name__)

# Keeping bytes in memory is for trying things out.
_MEMORY_BYTES_MAX = 1024**3
# Whoever holds it sweeps for all processes; no upload has such an id.
_SWEEPER = ".sweeper"


def utc_now() -> datetime:
    return datetime.now(UTC)


class Service:
    """One server's parts. ``endpoint`` may be called at once: what it needs is opened with the first request."""

    def __init__(
        self,
        settings: Settings,
        functions: Mapping[Hook, HookFunction] | None = None,
        clock: Callable[[], datetime] = utc_now,
        *,
        trailers: bool = False,
    ) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.draining = Draining()
        self.limits = _limits(settings)
        self.endpoint = self._endpoint(trailers)
        self._gate = CallableGate(functions or {}, settings.uploads.hook_timeout_seconds, self.metrics.hook)
        self._clock = clock
        self._ports: Ports | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # in which they were opened
        self._opening = asyncio.Lock()
        self._sweeper: asyncio.Task[None] | None = None
        self._leading: Hold | None = None

    async def ports(self) -> Ports:
        """What the use cases are given; opened now if it is not yet."""
        if self._ports is None or self._loop is not asyncio.get_running_loop():
            await self.open()
            assert self._ports is not None
        return self._ports

    async def open(self) -> None:
        """Open records, store and locker, bring the schema up to date, and start to sweep.

        Raises ``OSError`` or ``RecordsError`` with a sentence for the operator.
        """
        async with self._opening:
            if self._ports is not None and self._loop is not None and self._loop.is_closed():
                await self._abandon(self._ports)
            if self._ports is None:
                self._ports = await self._open()
                self._loop = asyncio.get_running_loop()
                self._sweeper = asyncio.create_task(self._keep_sweeping(self._ports))

    async def close(self) -> None:
        """Stop what runs, save what came, and let go of everything. The service can be opened again."""
        if self._ports is None:
            return
        ports, self._ports = self._ports, None
        self.draining.begin()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
        await ports.background.drain(self.settings.server.shutdown_timeout_seconds)
        if self._leading is not None:
            await self._leading.release()
            self._leading = None
        await ports.locker.close()
        await ports.store.close()
        await ports.records.close()
        self.metrics.close()
        self.draining.end()

    async def _abandon(self, ports: Ports) -> None:
        """Let go of what was opened in an event loop that has ended: test clients give each request one of its own."""
        self._ports = self._sweeper = self._leading = None
        try:
            await ports.records.close()
        except (RuntimeError, ValueError):
            # Their thread ends all the same; only the word of that would have come to the loop that is gone.
            pass
        if isinstance(ports.locker, FileLocker):
            ports.locker.forget()
        await ports.store.close()

    async def _open(self) -> Ports:
        settings = self.settings
        store, locker = await asyncio.to_thread(_open_storage, settings)
        try:
            records = await _open_records(settings)
        except BaseException:
            # Tried again with the next request: each try would keep descriptors open.
            await locker.close()
            await store.close()
            raise
        return Ports(
            records=records,
            store=store,
            locker=locker,
            gate=self._gate,
            clock=self._clock,
            # 128 bits: whoever knows the URL of an upload may write to it, so it must not be guessed.
            new_id=lambda: secrets.token_hex(16),
            limits=self.limits,
            pace=_pace(settings),
            background=Background(),
            opened_at=self._clock(),
            count_complete=self.metrics.complete,
            durable_saves=settings.storage.durability == "power",
        )

    async def _keep_sweeping(self, ports: Ports) -> None:
        """Sweep as long as the service is open; among several processes one does it, and another when that one dies."""
        while True:
            try:
                if self._leading is None:
                    self._leading = await ports.locker.try_acquire(_SWEEPER)
                if self._leading is not None:
                    await resume(ports)
                    swept = await sweep(ports)
                    self.metrics.expired.inc(swept.expired)
            except Exception:
                # The outermost handler of this task: a database that is away for a minute must not end the sweeping.
                log.exception("sweeping failed; it is tried again")
            await asyncio.sleep(self.settings.expiration.sweep_interval_seconds)

    def _endpoint(self, trailers: bool) -> TusEndpoint:
        settings = self.settings
        public_path = urlsplit(settings.server.public_url).path.rstrip("/") + "/"
        return TusEndpoint(
            open=self.ports,
            parser=Parser(
                trailers=trailers,
                limits=self.limits,
                hosts=settings.uploads.concat_hosts,
                base_paths=(settings.server.base_path, public_path)
                if settings.server.public_url
                else (settings.server.base_path,),
            ),
            formatter=Formatter(
                limits=self.limits,
                extensions=extensions(
                    self.limits, expiration=bool(settings.expiration.unfinished_seconds), trailers=trailers
                ),
                inline_types=frozenset(settings.uploads.inline_types),
            ),
            cors=Cors(**settings.cors.model_dump()),
            locator=Locator(
                public_url=settings.server.public_url,
                trusted_proxies=settings.server.trusted_proxies,
            ),
            metrics=self.metrics,
            draining=self.draining,
            body_idle_seconds=settings.uploads.body_idle_seconds,
            body_rate_min=settings.uploads.body_rate_min,
        )


def create_app(
    settings: Settings, functions: Mapping[Hook, HookFunction] | None = None, *, trailers: bool = False
) -> Starlette:
    """The whole server as a Starlette application; ``app.state.drain()`` begins its graceful end on the event loop.

    ``trailers`` tells whether the HTTP server hands trailers over, as ``serving`` does.
    """
    service = Service(settings, functions, trailers=trailers)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await service.open()
        try:
            yield
        finally:
            await service.close()

    routes: list[BaseRoute] = health_routes(service.ports, service.draining)
    if settings.metrics.enabled:
        routes.append(metrics_route(service.metrics, settings.metrics.path))
    if settings.server.page:
        routes += page_routes(settings.server.public_url or settings.server.base_path)
    app = ServerApp(Below(settings.server.base_path, service.endpoint), routes, lifespan)
    app.state.drain = service.draining.begin
    return app


async def sweep_once(settings: Settings) -> Swept:
    """One pass of the sweeper by itself, beside a running server or without one."""
    service = Service(settings)
    ports = await service._open()
    try:
        return await sweep(ports)
    finally:
        await ports.background.drain(settings.server.shutdown_timeout_seconds)
        await ports.locker.close()
        await ports.store.close()
        await ports.records.close()


def migrate_records(settings: Settings) -> list[str]:
    """Bring the database up to date and return the steps that took. Blocks; raises ``OSError`` or ``RecordsError``."""
    if settings.database_path is None:
        return []
    Path(settings.database_path).parent.mkdir(parents=True, exist_ok=True)
    return bring_up_to_date(settings.database_url)


def pending_steps(settings: Settings) -> list[str]:
    """The steps that ``migrate_records`` would take; changes nothing. Blocks; raises ``RecordsError``."""
    return [] if settings.database_path is None else pending(settings.database_url)


def _open_storage(settings: Settings) -> tuple[Store, Locker]:
    if settings.storage.kind == "memory":
        return MemoryStore(bytes_max=_MEMORY_BYTES_MAX), MemoryLocker()
    data_dir = Path(settings.storage.data_dir)
    store = DiskStore(data_dir / "uploads", file_mode=int(settings.storage.file_mode, 8))
    return store, FileLocker(data_dir / "locks")


async def _open_records(settings: Settings) -> Records:
    if settings.database_path is None:
        return MemoryRecords()
    for step in await asyncio.to_thread(migrate_records, settings):
        log.info("database: %s", step)
    return await SqlRecords.open(settings.database_url, durability=settings.storage.durability)


def _limits(settings: Settings) -> Limits:
    uploads = settings.uploads
    return Limits(
        length_max=uploads.length_max,
        metadata_bytes_max=uploads.metadata_bytes_max,
        parts_max=uploads.parts_max,
        creation_with_upload=uploads.creation_with_upload,
        termination=uploads.termination,
        concatenation=uploads.concatenation,
        downloads=uploads.downloads,
        partial_downloads=uploads.partial_downloads,
        gone_status=uploads.gone_status,
    )


def _pace(settings: Settings) -> Pace:
    uploads, expiration = settings.uploads, settings.expiration
    return Pace(
        save_interval_seconds=uploads.save_interval_seconds,
        save_interval_bytes=uploads.save_interval_bytes,
        lock_timeout_seconds=uploads.lock_timeout_seconds,
        join_at_once_bytes_max=uploads.join_at_once_bytes_max,
        unfinished_seconds=expiration.unfinished_seconds,
        finished_seconds=expiration.finished_seconds,
        partial_seconds=expiration.partial_seconds,
        tombstone_seconds=expiration.tombstone_seconds,
    )
