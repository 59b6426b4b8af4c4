"""Builds the ports of the use cases from settings. The only module that imports both contracts and backends."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import urlsplit

from sqlalchemy import URL

from tusd_py.access_wiring import access_policy, creation_rate, open_access_ports, quota_policy
from tusd_py.contracts.endpoint_states import EndpointStates
from tusd_py.contracts.hooks import HookFunctions, HookHandler, HookResponse
from tusd_py.contracts.job_queue import JobQueue
from tusd_py.contracts.locker import Locker
from tusd_py.contracts.quota_ledger import QuotaLedger
from tusd_py.contracts.records import Records
from tusd_py.contracts.store import Store
from tusd_py.contracts.webhooks import WebhookDeliverer, WebhookEndpoint
from tusd_py.hooks.blocking.callables import CallableHooks
from tusd_py.hooks.blocking.chain import HookChain
from tusd_py.hooks.blocking.from_settings import executable_hooks, http_hooks
from tusd_py.hooks.blocking.measured import MeasuredHooks, ObserveSeconds
from tusd_py.hooks.delivery.deliverer import Deliverer
from tusd_py.hooks.delivery.endpoints import configured_endpoints
from tusd_py.hooks.responses import CountInvocation
from tusd_py.hooks.tusd_json import parse_response
from tusd_py.lockers import listen_url, make_locker
from tusd_py.locking.file import FileLocker
from tusd_py.locking.memory import MemoryLocker
from tusd_py.model.addresses import parse_address
from tusd_py.model.events import EventType
from tusd_py.model.hooks import BLOCKING, Hook
from tusd_py.model.jobs import Subscription
from tusd_py.model.steps import PUBLISHING, VALIDATION
from tusd_py.model.upload import Upload
from tusd_py.notify.wakeup import notify, subscribe
from tusd_py.protocol.rules import Limits
from tusd_py.publishing.directory import DirectoryPublisher
from tusd_py.publishing.placement import try_out
from tusd_py.records.memory import MemoryRecords
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.listen import JOBS_CHANNEL, listening
from tusd_py.records.sql.move import move
from tusd_py.records.sql.schema import bring_up_to_date, pending, try_writing
from tusd_py.records.sql.sqlite_copy import copy_database, damage, is_in_use
from tusd_py.settings import Settings
from tusd_py.storage.disk.mirror import mirror
from tusd_py.storage.disk.store import path_of
from tusd_py.stores import make_store
from tusd_py.uploads.background import Background
from tusd_py.uploads.client_limits import ConcatenationSlots, EmptyUploads
from tusd_py.uploads.expire import Swept, sweep
from tusd_py.uploads.policy import UploadPolicy
from tusd_py.uploads.ports import Ports
from tusd_py.validation import libmagic
from tusd_py.validation.validator import RuleValidator

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Only the server, and the group an administrator gives the directory, may look into it.
DATA_DIR_MODE = 0o750


def utc_now() -> datetime:
    return datetime.now(UTC)


def make_hook_handler(
    settings: Settings, functions: HookFunctions, store: Store, count: CountInvocation
) -> HookHandler:
    """All blocking hooks, in order: the URLs of the settings, the programs, then ``functions``.

    ``count`` is called after each invocation. Blocks while TLS certificates are loaded. Raises ``OSError`` if the
    directory of the programs does not exist.
    """
    hooks = settings.hooks
    # Only blocking hooks: workers deliver the events of all others.
    enabled = BLOCKING.intersection(map(Hook, hooks.enabled_events))
    handlers = [*http_hooks(hooks, enabled, store, count), *executable_hooks(hooks, enabled, store, count)]
    callables = CallableHooks(functions, hooks.timeout_seconds, count, store)
    return HookChain([*handlers, callables]) if handlers else callables


def subscriptions(settings: Settings) -> tuple[Subscription, ...]:
    """The subscriptions to events; none with records in memory, which have no worker."""
    if not settings.has_database:
        return ()
    found = [
        Subscription(name=each.name, actor="webhooks", types=each.types, is_ordered=each.is_ordered)
        for each in configured_endpoints(settings)
    ]
    if settings.events.record:
        found.append(Subscription(name="events.record", actor="", types=frozenset(EventType)))
    return tuple(found)


def webhook_endpoints(settings: Settings) -> tuple[WebhookEndpoint, ...]:
    """The endpoints that events are delivered to."""
    return configured_endpoints(settings)


def make_deliverer(clock: Callable[[], datetime]) -> WebhookDeliverer:
    """A deliverer for the running event loop."""
    return Deliverer(clock)


def parse_post_response(hook: Hook, response: bytes) -> HookResponse:
    """The response of a tusd hook that a worker called. Raises ``HookFailed``."""
    return parse_response(hook, response)


def is_private_literal(url: str) -> bool:
    """Whether the host of ``url`` is an address, and not a public one: webhooks are not delivered to it unasked."""
    from tusd_py.hooks.delivery.ssrf import is_public  # here, because it loads the HTTP library

    host = urlsplit(url).hostname or ""
    return parse_address(host) is not None and not is_public(host)


def needs_worker(settings: Settings) -> bool:
    """Whether the settings enable anything that only a worker does."""
    return bool(settings.steps) or any(subscription.actor for subscription in subscriptions(settings))


def ensure_libmagic() -> None:
    """Load libmagic. Raises ``ValidatorUnavailable``, which says how to install it, if it is missing."""
    libmagic.detect_type(b"")


@contextmanager
def subscribe_to_jobs(settings: Settings, on_jobs: Callable[[], None]) -> Iterator[None]:
    """Call ``on_jobs`` on this event loop soon after any process has added jobs. A wake-up may be missed."""
    make_data_dir(settings)
    with ExitStack() as stack:
        stack.enter_context(subscribe(_wake_directory(settings), on_jobs))
        url = listen_url(settings)
        if url is not None:
            # Jobs that another machine has added.
            stack.enter_context(listening(url, {JOBS_CHANNEL: lambda _: on_jobs()}))
        yield


def _wake_directory(settings: Settings) -> Path:
    return Path(settings.storage.data_dir) / "wake"


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
        database = await _open_database(settings)
        access_ports = await open_access_ports(settings, database, utc_now())
    except BaseException:
        # The next request tries again: without this each attempt would leak file descriptors.
        await locker.close()
        await store.close()
        raise
    if clock is None:
        clock = (None if database is None else database.clock) or utc_now
    return Ports(
        records=MemoryRecords() if database is None else database.records,
        store=store,
        locker=locker,
        hooks=MeasuredHooks(handler, observe_hook),
        clock=clock,
        # 128 bits: every client that knows the URL of an upload may write to it, so it must be unguessable.
        new_id=lambda: secrets.token_hex(16),
        policy=_policy(settings, functions),
        background=Background(),
        opened_at=clock(),
        count_complete=count_complete,
        access=access_policy(settings),
        access_ports=access_ports,
        creation_rate=creation_rate(settings),
        quotas=quota_policy(settings),
        quota_ledger=None if database is None else database.quota_ledger,
        concatenations=ConcatenationSlots(settings.uploads.concatenations_per_client_max),
        empty_uploads=EmptyUploads(settings.uploads.empty_per_client_max),
        validator=_validator(settings) if VALIDATION.name in settings.steps else None,
        sniffer=_validator(settings) if settings.validation.early else None,
        publisher=_publisher(settings) if PUBLISHING.name in settings.steps else None,
        job_queue=None if database is None else database.job_queue,
        endpoint_states=None if database is None else database.endpoint_states,
        hook_counts=None if database is None else database.hook_counts,
    )


async def close_ports(ports: Ports, settings: Settings) -> None:
    """Wait for background work, then close everything that ``open_ports`` opened."""
    await ports.background.drain(settings.server.shutdown_timeout_seconds)
    await ports.hooks.close()
    await ports.locker.close()
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
    await ports.store.close()


def open_job_queue(settings: Settings) -> AbstractAsyncContextManager[JobQueue]:
    """The job queue of a database, beside a running server or without one. Raises like ``open_ports``."""
    return _opened(settings, lambda database: database.job_queue)


def open_endpoint_states(settings: Settings) -> AbstractAsyncContextManager[EndpointStates]:
    """The closed endpoints of a database, as ``open_job_queue``."""
    return _opened(settings, lambda database: database.endpoint_states)


def open_quota_ledger(settings: Settings) -> AbstractAsyncContextManager[QuotaLedger]:
    """The quota ledger of a database, as ``open_job_queue``."""
    return _opened(settings, lambda database: database.quota_ledger)


def open_records(settings: Settings) -> AbstractAsyncContextManager[Records]:
    """The records of a database, as ``open_job_queue``."""
    return _opened(settings, lambda database: database.records)


@asynccontextmanager
async def _opened(settings: Settings, part_of: Callable[[SqlDatabase], T]) -> AsyncIterator[T]:
    if (database := await _open_database(settings)) is not None:  # with records in memory there is nothing to open
        try:
            yield part_of(database)
        finally:
            await database.close()


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


def make_data_dir(settings: Settings) -> None:
    """Create the data directory if it is missing, accessible to its owner and group only. Raises ``OSError``."""
    if settings.storage.kind != "memory":
        Path(settings.storage.data_dir).mkdir(mode=DATA_DIR_MODE, parents=True, exist_ok=True)


def exposed_data(settings: Settings) -> list[str]:
    """A sentence for the operator for each existing directory and database that other users of the machine can read."""
    found = []
    data_dir = Path(settings.storage.data_dir)
    if settings.storage.kind != "memory" and (mode := _mode_of(data_dir)) & 0o007:
        found.append(f"other users can enter {data_dir} (mode {mode:04o}): chmod 0750 it")
    if settings.database_path is not None and (mode := _mode_of(Path(settings.database_path))) & 0o006:
        found.append(f"other users can read {settings.database_path} (mode {mode:04o}): chmod 0640 it")
    return found


def _mode_of(path: Path) -> int:
    try:
        return path.stat().st_mode & 0o7777
    except OSError:
        return 0


def migrate_records(settings: Settings) -> list[str]:
    """Apply pending migrations and return their names. Blocks; raises ``OSError`` or ``RecordsError``."""
    if not settings.has_database:
        return []
    make_data_dir(settings)
    if settings.database_path is not None:
        Path(settings.database_path).parent.mkdir(mode=DATA_DIR_MODE, parents=True, exist_ok=True)
    return bring_up_to_date(_database_url(settings))


def move_records(source_url: str, target_url: str) -> dict[str, int]:
    """Move a SQLite database to PostgreSQL; the number of rows by table. Blocks; raises ``RecordsError``."""
    return move(source_url, target_url)


def pending_migrations(settings: Settings) -> list[str]:
    """The migrations that ``migrate_records`` would apply; changes nothing. Blocks; raises ``RecordsError``."""
    return [] if not settings.has_database else pending(_database_url(settings))


def _database_url(settings: Settings) -> str | URL:
    """Built of its parts, since the data directory's path may have characters with a meaning in URLs."""
    return settings.records.url or URL.create("sqlite", database=settings.database_path)


def try_records(settings: Settings) -> None:
    """Take the write lock of the database, if it exists, and change nothing. Blocks; raises ``RecordsError``."""
    path = settings.database_path
    if settings.has_database and (path is None or Path(path).exists()):
        try_writing(_database_url(settings))


def copy_records(settings: Settings, target: Path) -> None:
    """Copy the database as it is now to ``target``. Blocks; raises ``RecordsError`` or ``OSError``."""
    assert settings.database_path is not None, "records in memory cannot be copied"
    copy_database(Path(settings.database_path), target)


def records_damage(path: Path, *, is_constant: bool = False) -> str:
    """What is wrong with the database at ``path``, if anything. Blocks; raises ``RecordsError``."""
    return damage(path, is_constant=is_constant)


def is_records_in_use(path: Path) -> bool:
    """Whether another process has the database at ``path`` open. Blocks."""
    return is_in_use(path)


def mirror_uploads(
    settings: Settings, target: Path, may_link: Callable[[Path], bool], source: Path | None = None
) -> tuple[int, int]:
    """Copy the bytes of all uploads; see ``mirror``. Blocks; raises ``OSError``."""
    return mirror(source or _upload_directory(settings), target, may_link)


def location_of(settings: Settings, upload: Upload) -> Path:
    """The path of the file that has the bytes of ``upload`` on this machine's disk."""
    return path_of(_upload_directory(settings), upload)


def _upload_directory(settings: Settings) -> Path:
    return Path(settings.storage.data_dir) / "uploads"


def _open_storage(settings: Settings) -> tuple[Store, Locker]:
    if settings.storage.kind == "memory":
        return make_store(settings), MemoryLocker()
    make_data_dir(settings)
    data_dir = Path(settings.storage.data_dir)
    return make_store(settings), make_locker(settings, data_dir / "locks")


async def _open_database(settings: Settings) -> SqlDatabase | None:
    if not settings.has_database:
        return None
    for step in await asyncio.to_thread(migrate_records, settings):
        log.info("database: %s", step)
    on_work = partial(notify, _wake_directory(settings))
    return await SqlDatabase.open(_database_url(settings), durability=settings.storage.durability, on_work=on_work)


def limits(settings: Settings) -> Limits:
    """The limits and switches of the protocol's rules."""
    uploads = settings.uploads
    return Limits(
        length_max=uploads.length_max,
        metadata_bytes_max=uploads.metadata_bytes_max,
        parts_max=uploads.parts_max,
        append_bytes_max=uploads.append_bytes_max,
        append_bytes_min=uploads.append_bytes_min,
        part_uses_max=uploads.part_uses_max,
        creation_with_upload=uploads.creation_with_upload,
        termination=uploads.termination,
        concatenation=uploads.concatenation,
        downloads=uploads.downloads,
        partial_downloads=uploads.partial_downloads,
        gone_status=uploads.gone_status,
        requires_validation=settings.validation.enabled,
    )


def _publisher(settings: Settings) -> DirectoryPublisher:
    publishing = settings.publishing
    directory = Path(publishing.directory).absolute()
    return DirectoryPublisher(
        directory=directory,
        pattern=publishing.pattern,
        links=publishing.mode == "link",
        file_mode=int(publishing.file_mode, 8),
    )


def try_publishing(directory: Path) -> str:
    """How files are placed in the existing ``directory``, found out by placing one. Raises ``OSError``."""
    return try_out(directory)


def _validator(settings: Settings) -> RuleValidator:
    validation = settings.validation
    return RuleValidator(
        rules=validation.rules,
        rejects_unmatched=validation.unmatched == "reject",
        digest_keys=validation.digest_keys,
    )


def _policy(settings: Settings, functions: HookFunctions) -> UploadPolicy:
    uploads, expiration = settings.uploads, settings.expiration
    return UploadPolicy(
        save_interval_seconds=uploads.save_interval_seconds,
        save_interval_bytes=uploads.save_interval_bytes,
        save_small_bytes=uploads.save_small_bytes,
        save_small_seconds=uploads.save_small_seconds,
        lock_timeout_seconds=uploads.lock_timeout_seconds,
        concatenate_at_once_bytes_max=uploads.join_at_once_bytes_max,
        unfinished_seconds=expiration.unfinished_seconds,
        finished_seconds=expiration.finished_seconds,
        partial_seconds=expiration.partial_seconds,
        tombstone_seconds=expiration.tombstone_seconds,
        limits=limits(settings),
        # What S3 has answered for survives a loss of power in any case; a durable flush makes the complete object.
        durable_saves=settings.storage.durability == "power" and settings.storage.kind != "s3",
        subscriptions=subscriptions(settings),
        forwarded_headers=frozenset(name.lower().encode() for name in settings.hooks.http_forward_headers),
        steps=settings.steps,
        delete_rejected=settings.validation.rejected == "delete",
        # Functions run in this process: a worker could not invoke pre-finish and post-finish.
        assemble_in_worker=needs_worker(settings) and not functions,
        delete_concatenated_parts=uploads.delete_joined_parts,
    )
