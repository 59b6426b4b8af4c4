"""``Ports``: the backends behind their contracts and the operator's policy, passed to every use case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tusd_py.access.audit import AuditTrail
from tusd_py.access.policy import AccessPolicy
from tusd_py.access.ports import AccessPorts
from tusd_py.access.quota import QuotaPolicy
from tusd_py.access.rates import Rates
from tusd_py.contracts.audit_log import AuditLog
from tusd_py.contracts.download_urls import DownloadUrls
from tusd_py.contracts.endpoint_states import EndpointStates
from tusd_py.contracts.erasure import PersonalData
from tusd_py.contracts.hook_counts import HookCounts
from tusd_py.contracts.hooks import HookHandler
from tusd_py.contracts.job_queue import JobQueue
from tusd_py.contracts.locker import Locker
from tusd_py.contracts.publisher import Publisher
from tusd_py.contracts.quota_ledger import QuotaLedger
from tusd_py.contracts.records import Records
from tusd_py.contracts.schedule_states import ScheduleStates
from tusd_py.contracts.store import Store
from tusd_py.contracts.upload_sessions import UploadSessions
from tusd_py.contracts.validator import TypeSniffer, Validator
from tusd_py.model.upload import Upload
from tusd_py.uploads.background import Background
from tusd_py.uploads.client_limits import ConcatenationSlots, EmptyUploads
from tusd_py.uploads.policy import UploadPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The backends and services that the use cases work with. Built once, in the wiring."""

    records: Records
    store: Store
    locker: Locker
    hooks: HookHandler
    clock: Callable[[], datetime]  # aware, UTC
    new_id: Callable[[], str]  # unguessable: knowing the URL of an upload is enough to write to it
    policy: UploadPolicy
    background: Background
    opened_at: datetime  # records older than this may count bytes that a power loss destroyed
    count_complete: Callable[[Upload], None]  # called with every upload whose last byte was recorded
    concatenations: ConcatenationSlots
    empty_uploads: EmptyUploads
    empty_sessions: EmptyUploads  # sessions without a chunk
    rates: Rates
    access: AccessPolicy | None = None  # None while access control is off: no request has a principal then
    access_ports: AccessPorts | None = None  # None while access control is off
    personal_data: PersonalData | None = None  # None where records are kept in memory
    quotas: QuotaPolicy | None = None  # None while quotas are off
    audit: AuditTrail | None = None  # None while the audit log is off
    audit_log: AuditLog | None = None  # also while it is off; None where records are kept in memory
    quota_ledger: QuotaLedger | None = None  # None where records are kept in memory
    validator: Validator | None = None  # for the step "validation"
    sniffer: TypeSniffer | None = None  # checks the first bytes while the rest is still arriving
    publisher: Publisher | None = None  # for the step "publishing"
    download_urls: DownloadUrls | None = None  # None where all downloads pass through this server
    upload_sessions: UploadSessions | None = None  # None where records are kept in memory
    job_queue: JobQueue | None = None  # None where records are kept in memory: there is no worker then
    endpoint_states: EndpointStates | None = None  # None where records are kept in memory
    hook_counts: HookCounts | None = None  # None where records are kept in memory
    schedule_states: ScheduleStates | None = None  # None where records are kept in memory
