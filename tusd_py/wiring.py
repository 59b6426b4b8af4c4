"""Builds the ports of the use cases from settings. The only module that imports both contracts and backends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from os import urandom
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from tusd_py.access_wiring import access_policy, open_access_ports, quota_policy, rates
from tusd_py.audit_wiring import audit_trail
from tusd_py.contracts.hooks import HookFunctions, HookHandler, HookResponse
from tusd_py.contracts.locker import Locker
from tusd_py.contracts.publisher import Publisher
from tusd_py.contracts.store import Store
from tusd_py.contracts.webhooks import WebhookDeliverer, WebhookEndpoint
from tusd_py.data_directory import make_data_dir, wake_directory
from tusd_py.databases import open_database
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
from tusd_py.notify.wakeup import subscribe
from tusd_py.protocol.rules import Limits
from tusd_py.publishing.directory import DirectoryPublisher
from tusd_py.publishing.placement import try_out
from tusd_py.records.memory import MemoryRecords
from tusd_py.records.sql.listen import JOBS_CHANNEL, listening
from tusd_py.settings import Settings
from tusd_py.stores import make_bucket_publisher, make_download_urls, make_store
from tusd_py.uploads.background import Background
from tusd_py.uploads.client_limits import ConcatenationSlots, EmptyUploads
from tusd_py.uploads.expire import Swept, sweep
from tusd_py.uploads.policy import UploadPolicy
from tusd_py.uploads.ports import Ports

if TYPE_CHECKING:
    from tusd_py.validation.validator import RuleValidator

log = logging.getLogger(__name__)
T = TypeVar("T")


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


def has_backups(settings: Settings) -> bool:
    """Whether a schedule makes backups, each a job of a worker."""
    return bool(settings.schedules.backup_directory and settings.schedules.backup)


def needs_worker(settings: Settings) -> bool:
    """Whether the settings enable anything that only a worker does."""
    return bool(settings.steps) or has_backups(settings) or any(each.actor for each in subscriptions(settings))


def ensure_libmagic() -> None:
    """Load libmagic. Raises ``ValidatorUnavailable``, which says how to install it, if it is missing."""
    from tusd_py.validation import libmagic

    libmagic.detect_type(b"")


@contextmanager
def subscribe_to_jobs(settings: Settings, on_jobs: Callable[[], None]) -> Iterator[None]:
    """Call ``on_jobs`` on this event loop soon after any process has added jobs. A wake-up may be missed."""
    make_data_dir(settings)
    with ExitStack() as stack:
        stack.enter_context(subscribe(wake_directory(settings), on_jobs))
        url = listen_url(settings)
        if url is not None:
            # Jobs that another machine has added.
            stack.enter_context(listening(url, {JOBS_CHANNEL: lambda _: on_jobs()}))
        yield


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
        database = await open_database(settings)
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
        # 128 bits: every client that knows the URL of an upload may write to it, so it must be unguessable.
        new_id=lambda: urandom(16).hex(),
        policy=_policy(settings, functions),
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
        validator=_validator(settings) if VALIDATION.name in settings.steps else None,
        sniffer=_validator(settings) if settings.validation.early else None,
        publisher=_publisher(settings, store, locker) if PUBLISHING.name in settings.steps else None,
        download_urls=make_download_urls(settings, store),
        job_queue=None if database is None else database.job_queue,
        endpoint_states=None if database is None else database.endpoint_states,
        hook_counts=None if database is None else database.hook_counts,
        schedule_states=None if database is None else database.schedule_states,
    )


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


def _publisher(settings: Settings, store: Store, locker: Locker) -> Publisher:
    publishing = settings.publishing
    if publishing.bucket is not None:
        return make_bucket_publisher(settings, store, locker)
    directory = Path(publishing.directory).absolute()
    return DirectoryPublisher(
        directory=directory,
        pattern=publishing.pattern,
        links=publishing.mode == "link",
        file_mode=int(publishing.file_mode, 8),
    )


def try_publishing(directory: Path) -> str:
    """Place a test file in the existing ``directory``; return how it was done. Raises ``OSError``."""
    return try_out(directory)


def reload_rules(ports: Ports, settings: Settings) -> None:
    """Let the validators of ``ports`` apply the rules of ``settings``; whether there are any does not change."""
    from tusd_py.validation.validator import RuleValidator

    for validator in (ports.validator, ports.sniffer):
        if isinstance(validator, RuleValidator):
            validator.take_over(_validator(settings))


def _validator(settings: Settings) -> RuleValidator:
    # Loaded only where it is used, as libmagic: the modules take half a megabyte.
    from tusd_py.validation.validator import RuleValidator

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
