"""What every use case is given: the world behind its contracts, the clock, and the figures the operator has set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tusd_py.contracts.hooks import HookHandler
from tusd_py.contracts.job_queue import JobQueue
from tusd_py.contracts.locker import Locker
from tusd_py.contracts.publisher import Publisher
from tusd_py.contracts.records import Records
from tusd_py.contracts.store import Store
from tusd_py.contracts.validator import TypeSniffer, Validator
from tusd_py.model.jobs import Subscription
from tusd_py.model.upload import Kind, Upload
from tusd_py.protocol.rules import Limits
from tusd_py.uploads.background import Background


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPolicy:
    """How long and how much: every wait and every loss has a bound. Seconds unless the name says otherwise."""

    save_interval_seconds: float = 1.0  # a running body is saved this often,
    save_interval_bytes: int = 64 * 1024 * 1024  # or after so many bytes
    progress_interval_seconds: float = 1.0  # saved bytes are an event this often, and at the end of their body
    lock_timeout_seconds: float = 10.0
    concatenate_at_once_bytes_max: int = 64 * 1024 * 1024
    unfinished_seconds: float = 604800.0  # 0: unfinished uploads never expire
    finished_seconds: float = 0.0  # 0: finished uploads are kept for ever
    partial_seconds: float = 604800.0  # 0: complete partial uploads are kept for ever
    tombstone_seconds: float = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The heart's view of the world. Made once, in the wiring."""

    records: Records
    store: Store
    locker: Locker
    hooks: HookHandler
    clock: Callable[[], datetime]  # aware, UTC
    new_id: Callable[[], str]  # unguessable: whoever knows the URL of an upload may write to it
    limits: Limits
    policy: UploadPolicy
    background: Background
    opened_at: datetime  # records older than this may claim what a power loss took
    count_complete: Callable[[Upload], None]  # told of every upload whose last byte was recorded
    durable_saves: bool = False  # fsync at every save, not at completion alone
    subscriptions: tuple[Subscription, ...] = ()  # who is told of events
    forwarded_credentials: frozenset[bytes] = (
        frozenset()
    )  # headers with credentials that events keep, for hooks that want them
    steps: tuple[str, ...] = ()  # what workers do with a complete upload before it is ready, in order
    validator: Validator | None = None  # for the step validation
    sniffer: TypeSniffer | None = None  # looks at the first bytes while the others are on their way
    delete_rejected: bool = False  # rejected uploads lose their bytes at once
    publisher: Publisher | None = None  # for the step publishing
    joins_by_job: bool = False  # final uploads are joined by a worker, but for those that are joined at once
    deletes_joined_parts: bool = False  # partial uploads go when their final upload is joined
    job_queue: JobQueue | None = None  # None where records are kept in memory: then there is no worker either

    def expiry(self, upload: Upload, now: datetime) -> datetime | None:
        """When the sweeper shall next look at ``upload``, if nothing happens to it after ``now``."""
        pace = self.policy
        if upload.has_ended:
            seconds = pace.tombstone_seconds
        elif not upload.is_complete:
            seconds = pace.unfinished_seconds
        elif upload.kind is Kind.PARTIAL:
            seconds = pace.partial_seconds
        else:
            seconds = pace.finished_seconds
        if not seconds and not upload.has_ended:
            return None
        return now + timedelta(seconds=seconds)
