"""Opens and closes the ports of the use cases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from tusd_py.contracts.hooks import HookFunctions
from tusd_py.contracts.locker import Locker
from tusd_py.contracts.store import Store
from tusd_py.hooks.blocking.measured import MeasuredHooks, ObserveSeconds
from tusd_py.hooks.responses import CountInvocation
from tusd_py.locking.file import FileLocker
from tusd_py.locking.memory import MemoryLocker
from tusd_py.model.steps import PUBLISHING, VALIDATION
from tusd_py.model.upload import Upload
from tusd_py.records.memory import MemoryRecords
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.settings import Settings
from tusd_py.uploads.background import Background
from tusd_py.uploads.client_limits import ConcatenationSlots, EmptyUploads
from tusd_py.uploads.expire import Swept, sweep
from tusd_py.uploads.ports import Ports
from tusd_py.wiring.access import access_policy, open_access_ports, quota_policy, rates
from tusd_py.wiring.audit import audit_trail
from tusd_py.wiring.clock import utc_now
from tusd_py.wiring.data_directory import make_data_dir
from tusd_py.wiring.databases import open_database
from tusd_py.wiring.hooks import make_hook_handler
from tusd_py.wiring.lockers import make_locker
from tusd_py.wiring.processing import make_publisher, make_validator
from tusd_py.wiring.random_ids import RandomIds
from tusd_py.wiring.store_marks import guard_store
from tusd_py.wiring.stores import make_download_urls, make_store
from tusd_py.wiring.upload_policy import upload_policy


async def open_ports(
    settings: Settings,
    functions: HookFunctions = MappingProxyType({}),
    *,
    count_hook: CountInvocation = lambda _hook, _failed: None,
    observe_hook: ObserveSeconds = lambda _hook, _seconds: None,
    clock: Callable[[], datetime] | None = None,
    count_complete: Callable[[Upload], None] = lambda _: None,
) -> Ports:
    """Open records, store, locker and hooks on this event loop, after applying pending migrations.

    Without ``clock``, the time is that of the database if other machines may use it too, else that of this machine.
    Raises ``OSError`` or ``RecordsError`` with a message for the operator; then nothing is left open.
    """
    store, locker = await asyncio.to_thread(_open_storage, settings)
    try:
        handler = await asyncio.to_thread(make_hook_handler, settings, functions, store, count_hook)
        database = await _open_guarded_database(settings, store)
        clock = clock or (None if database is None else database.clock) or utc_now
        counted = rates(settings)
        access_ports = await open_access_ports(settings, database, clock, counted.logins)
    except BaseException:
        # The next request tries again: without this each attempt would leak file descriptors.
        await locker.close()
        await store.close()
        raise
    return Ports(
        records=MemoryRecords() if database is None else database.records,
        store=store,
        locker=locker,
        hooks=MeasuredHooks(handler, observe_hook),
        clock=clock,
        # Every client that knows the URL of an upload may write to it, so it must be unguessable.
        new_id=RandomIds().next,
        policy=upload_policy(settings, functions),
        background=Background(),
        opened_at=clock(),
        count_complete=count_complete,
        access=access_policy(settings),
        rates=counted,
        access_ports=access_ports,
        quotas=quota_policy(settings),
        audit=audit_trail(settings, database, clock),
        audit_log=None if database is None else database.audit_log,
        personal_data=None if database is None else database.personal_data,
        quota_ledger=None if database is None else database.quota_ledger,
        upload_sessions=None if database is None else database.upload_sessions,
        concatenations=ConcatenationSlots(settings.uploads.concatenations_per_client_max),
        empty_uploads=EmptyUploads(settings.uploads.empty_per_client_max),
        empty_sessions=EmptyUploads(settings.uploads.empty_per_client_max),
        validator=make_validator(settings) if VALIDATION.name in settings.steps else None,
        sniffer=make_validator(settings) if settings.validation.early else None,
        publisher=make_publisher(settings, store, locker) if PUBLISHING.name in settings.steps else None,
        download_urls=make_download_urls(settings, store),
        job_queue=None if database is None else database.job_queue,
        endpoint_states=None if database is None else database.endpoint_states,
        hook_counts=None if database is None else database.hook_counts,
        schedule_states=None if database is None else database.schedule_states,
    )


async def _open_guarded_database(settings: Settings, store: Store) -> SqlDatabase | None:
    """The database, whose store ``store`` is from now on, or will be once it can be reached."""
    database = await open_database(settings)
    try:
        await guard_store(settings, store, database)
    except BaseException:
        if database is not None:
            await database.close()
        raise
    return database


async def close_ports(ports: Ports, settings: Settings) -> None:
    """Wait for background work, then close everything that ``open_ports`` opened."""
    await ports.background.drain(settings.server.shutdown_timeout_seconds)
    if ports.access_ports is not None:
        ports.access_ports.close()
    await ports.hooks.close()
    if ports.audit is not None:
        await ports.audit.close()
    await ports.rates.counter.close()
    await ports.locker.close()
    for connected in (ports.download_urls, ports.publisher):
        if connected is not None:
            await connected.close()
    await ports.store.close()
    await ports.records.close()


async def abandon_ports(ports: Ports) -> None:
    """Close what was opened on an event loop that has ended: test clients run each request on a loop of its own."""
    try:
        await ports.records.close()
    except (RuntimeError, ValueError):
        # The thread of the records ends all the same; only its notification needed the loop that is gone.
        pass
    if isinstance(ports.locker, FileLocker):
        ports.locker.forget()
    for connected in (ports.download_urls, ports.publisher):
        if connected is not None:
            await connected.close()
    await ports.store.close()


@asynccontextmanager
async def opened_ports(settings: Settings) -> AsyncIterator[Ports]:
    """The ports for a command, beside a running server or without one. Raises like ``open_ports``."""
    ports = await open_ports(settings)
    try:
        yield ports
    finally:
        await close_ports(ports, settings)


async def sweep_once(settings: Settings) -> Swept:
    """Run one pass of the sweeper, beside a running server or without one."""
    async with opened_ports(settings) as ports:
        return await sweep(ports)


def _open_storage(settings: Settings) -> tuple[Store, Locker]:
    if settings.storage.kind == "memory":
        return make_store(settings), MemoryLocker()
    make_data_dir(settings)
    data_dir = Path(settings.storage.data_dir)
    return make_store(settings), make_locker(settings, data_dir / "locks")
