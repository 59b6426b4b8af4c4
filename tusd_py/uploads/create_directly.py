"""POST without a task: the creation of an ordinary upload, with no body or with a small one that has arrived whole.

It is what ``create`` does for such a request, with the same rules, transitions and effects, and nothing else: whatever
is out of the ordinary, and every failure, is left to ``create``. A task, its futures and a dozen coroutines take more
time than the file and the row of a small upload.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import fields

from tusd_py.access.policy import AccessPolicy
from tusd_py.contracts.direct import DirectRecords, DirectStore
from tusd_py.contracts.records import QuotaExhausted, RecordExists
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.principal import Principal, Verb
from tusd_py.model.upload import HistoryEntry, Kind, Status, Upload
from tusd_py.protocol import rules
from tusd_py.protocol.requests import Create
from tusd_py.uploads.authorize import is_revocable, permits_as_it_is
from tusd_py.uploads.background import TaskKind, task_key
from tusd_py.uploads.body.sniffer import sniffer_for
from tusd_py.uploads.commit import Cause, effects_of
from tusd_py.uploads.known_writers import KnownWriters
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.finish import completed
from tusd_py.uploads.upload_log import log_creation

log = logging.getLogger(__name__)

#: Backends that do not concern a creation, or are asked here. Any other one that is there, such as an access policy,
#: needs ``create``: a new one does so until it is named here.
_UNCONCERNED = frozenset(
    {
        "access",  # asked here, as the next two
        "access_ports",
        "audit",  # written with the record
        "audit_log",  # read only: ``audit`` writes
        "endpoint_states",
        "hook_counts",
        "job_queue",
        "personal_data",
        "publisher",
        "quota_ledger",
        "quotas",  # charged with the record
        "schedule_states",
        "sniffer",  # asked for each upload
        "upload_sessions",
        "validator",
    }
)
#: Of the rates: a creation is counted here, and bodies are left to ``create`` where they may have to wait.
_UNCONCERNED_RATES = frozenset({"bandwidth", "bodies", "creations"})
_HOOKS = (
    Hook.AUTHORIZE,
    Hook.PRE_CREATE,
    Hook.POST_CREATE,
    Hook.POST_RECEIVE,
    Hook.PRE_FINISH,
    Hook.POST_FINISH,
)

#: Called once with the upload as recorded; or with ``None`` if it failed, and ``create`` has to answer the request.
OnCreated = Callable[[Upload | None], None]


def direct_creations(ports: Ports, writers: KnownWriters | None = None) -> DirectCreations | None:
    """Creations without a task, if these backends and settings allow them. They add to ``writers``."""
    records, store = ports.records, ports.store
    if not isinstance(records, DirectRecords) or not isinstance(store, DirectStore):
        return None
    if ports.policy.subscriptions or any(ports.hooks.handles(hook) for hook in _HOOKS):
        return None
    if concerned_parts(ports):
        return None
    return DirectCreations(ports, records, store, writers or KnownWriters())


def concerned_parts(ports: Ports) -> list[str]:
    """The names of the optional parts that are there and may concern a creation or a change."""
    return [
        each.name
        for parts, unconcerned in ((ports, _UNCONCERNED), (ports.rates, _UNCONCERNED_RATES))
        for each in fields(parts)
        if each.default is None and each.name not in unconcerned and getattr(parts, each.name) is not None
    ]


def direct_caller(method: str, client: str, principal: Principal | None) -> Caller:
    """The client of a request without a task, as far as what is recorded with a change needs it."""
    owner = "" if principal is None else principal.subject
    return Caller(
        remote_address="", method=method, target="", headers=[], client=client, owner=owner, principal=principal
    )


class DirectCreations:
    """Begins creations; they continue in callbacks of the event loop. Built once."""

    def __init__(self, ports: Ports, records: DirectRecords, store: DirectStore, writers: KnownWriters) -> None:
        self._ports = ports
        self._writers = writers
        self._records = records
        self._store = store

    def begin(
        self,
        request: Create,
        pieces: Sequence[bytes],
        client: str,
        principal: Principal | None,
        request_id: str,
        on_created: OnCreated,
    ) -> bool:
        """Begin to create an upload with a body of ``pieces``, and return whether that was possible.

        ``principal`` is ``None`` while access control is off. False: nothing has been done, and ``create`` has to
        answer the request. Raises ``TusError`` or ``RecordsError``, which ``create`` would raise as well.
        """
        ports = self._ports
        body, length = request.body, request.length
        size = sum(map(len, pieces))
        if not length or not _is_plain(request, size):
            return False
        if size and not self._may_bring_bytes(principal, size, length):
            return False
        if ports.access is not None and not _may_create(ports, ports.access, principal):
            return False
        rules.create(request, ports.policy.limits_for(principal))
        if body is None:
            return self._begin_empty(length, request.metadata_header, client, principal, request_id, on_created)
        if not ports.empty_uploads.is_far_from_limit(client):
            return False
        upload = self._new_upload(length, request.metadata_header, principal)
        if sniffer_for(ports, upload) is not None:
            return False
        creation = _Creation(ports, self._records, self._writers, upload, client, principal, request_id, on_created)
        if not creation.count():
            return False
        try:
            creation.stored_bytes = size
            durable = size == length or ports.policy.durable_saves
            self._store.begin_write(upload, pieces, creation.on_stored, durable=durable)
        except BaseException:
            creation.take_back()
            raise
        # The server that stops waits for its requests, but not for one whose client is gone before a task answers it.
        ports.background.begin()
        return True

    def begin_empty(
        self, length: int, metadata_header: str | None, client: str, request_id: str, on_created: OnCreated
    ) -> bool:
        """As ``begin``, for a request without a body, while access control is off."""
        if not length or self._ports.access is not None:
            return False
        rules.ensure_allowed_length(length, self._ports.policy.limits)
        return self._begin_empty(length, metadata_header, client, None, request_id, on_created)

    def _begin_empty(
        self,
        length: int,
        metadata_header: str | None,
        client: str,
        principal: Principal | None,
        request_id: str,
        on_created: OnCreated,
    ) -> bool:
        """Begin to create an upload without bytes, which is allowed, and return whether that was possible."""
        ports = self._ports
        if not ports.empty_uploads.is_far_from_limit(client):
            return False
        upload = self._new_upload(length, metadata_header, principal)
        creation = _Creation(ports, self._records, self._writers, upload, client, principal, request_id, on_created)
        if not creation.count():
            return False
        try:
            self._records.begin_insert(upload, creation.effects(upload), creation.on_inserted)
        except BaseException:
            creation.take_back()
            raise
        ports.background.begin()
        return True

    def _new_upload(self, length: int, metadata_header: str | None, principal: Principal | None) -> Upload:
        ports = self._ports
        now = ports.clock()
        return Upload(
            id=ports.new_id(),
            length=length,
            metadata_header=metadata_header,
            owner="" if principal is None else principal.subject,
            created_at=now,
            updated_at=now,
            expires_at=ports.policy.new_expiry(now),
            history=(HistoryEntry(Status.UPLOADING, now),),
        )

    def _may_bring_bytes(self, principal: Principal | None, size: int, length: int) -> bool:
        """Whether a body needs to wait for no other one, and its client no second look when the upload completes."""
        rates = self._ports.rates
        may_wait = rates.bodies is not None or rates.bandwidth is not None
        return not (may_wait or (size == length and is_revocable(self._ports, principal)))


def _may_create(ports: Ports, access: AccessPolicy, principal: Principal | None) -> bool:
    assert principal is not None, "access control is on: the web authenticates every request"
    # Types are compared with the metadata, and recorded.
    return principal.limits.types is None and permits_as_it_is(ports, access, principal, Verb.CREATE)


def _is_plain(request: Create, size: int) -> bool:
    """Whether all of its body has arrived, ``size`` bytes, and there is nothing else that has to be looked at."""
    if request.kind is not Kind.REGULAR or request.is_last is not None or request.length_max is not None:
        return False
    body = request.body
    if body is None:
        return not size
    return 0 < size == body.length and not body.is_verified and body.bounds is None


class _Creation:
    """One creation that has begun. Its callbacks do not raise."""

    __slots__ = (
        "_client",
        "_on_created",
        "_ports",
        "_principal",
        "_records",
        "_request_id",
        "_upload",
        "_writers",
        "stored_bytes",
    )

    def __init__(
        self,
        ports: Ports,
        records: DirectRecords,
        writers: KnownWriters,
        upload: Upload,
        client: str,
        principal: Principal | None,
        request_id: str,
        on_created: OnCreated,
    ) -> None:
        self._ports = ports
        self._records = records
        self._writers = writers
        self._upload = upload
        self._client = client
        self._principal = principal
        self._request_id = request_id
        self._on_created = on_created
        self.stored_bytes = 0

    def count(self) -> bool:
        """Count the creation, if creations are limited; return whether it is allowed for certain."""
        rate = self._ports.rates.creations
        return rate is None or rate.count_now(self._upload.owner, self._client)

    def take_back(self) -> None:
        """Do not count it: ``create`` does."""
        rate = self._ports.rates.creations
        if rate is not None:
            rate.take_back(self._upload.owner, self._client)

    def on_stored(self, failure: BaseException | None) -> None:
        """Record the upload, whose bytes are stored."""
        if failure is None:
            try:
                self._insert()
                return
            except Exception as error:  # noqa: BLE001 - the outermost handler: the client must be answered
                failure = error
        self._give_up(failure)

    def _insert(self) -> None:
        ports = self._ports
        now = ports.clock()
        upload = self._upload.advance(self.stored_bytes, now)
        if upload.offset == upload.length:
            upload = completed(ports, upload)
        self._upload = upload = upload.expiring(ports.policy.expiry(upload, now))
        self._records.begin_insert(upload, self.effects(upload), self.on_inserted)

    def effects(self, upload: Upload) -> Effects:
        """What is written with the record: jobs, entries of the audit log, and the charge to a quota."""
        ports = self._ports
        quotas = ports.quotas
        if upload.pending_steps or ports.audit is not None:
            return effects_of(ports, None, upload, Cause(direct_caller("POST", self._client, self._principal)))
        if quotas is None:
            return NO_EFFECTS
        return Effects(quota=quotas.new_charge(upload, self._client, self._principal))

    def on_inserted(self, failure: BaseException | None) -> None:
        """Report the upload, which is recorded."""
        if failure is not None:
            self._give_up(failure)
            return
        ports, upload = self._ports, self._upload
        try:
            if upload.is_complete:
                ports.count_complete(upload)
            elif not upload.offset:
                ports.empty_uploads.add(self._client, upload.id)
            if self._principal is not None and not upload.is_complete:
                self._remember_writer(self._principal)
            log_creation(upload, self._client, self._request_id)
        except Exception:
            # The outermost handler of this callback: the upload exists, so its client must learn the URL.
            log.exception("a creation was recorded, but not counted")
        ports.background.end()
        self._on_created(upload)

    def _remember_writer(self, principal: Principal) -> None:
        """The next request is likely to send bytes: it need not look first whether its client may."""
        access = self._ports.access
        if access is not None and permits_as_it_is(self._ports, access, principal, Verb.APPEND, self._upload):
            self._writers.add(self._upload.id, principal)

    def _give_up(self, failure: BaseException) -> None:
        """Delete what was stored, as ``create`` does, and leave the request to it: it may fail the same way."""
        # A quota that is used up is no failure, and ``create`` refuses the request.
        level = logging.DEBUG if isinstance(failure, QuotaExhausted) else logging.INFO
        log.log(level, "creating anew after a failure: %s: %s", type(failure).__name__, failure)
        self.take_back()
        # Not the bytes of a recorded upload: an insertion may have been repeated after its answer was lost.
        if self.stored_bytes and not isinstance(failure, RecordExists):
            key = task_key(TaskKind.DISCARD, self._upload.id)
            self._ports.background.spawn(key, self._ports.store.delete(self._upload))
        self._ports.background.end()
        self._on_created(None)
