"""HEAD, PATCH and DELETE without a task: for an ordinary upload, with a small body that has arrived whole.

It is what ``inspect``, ``append`` and ``terminate`` do for such a request, with the same lock, rules, transitions and
effects, and nothing else: whatever is out of the ordinary, and every failure, is left to them. So is an upload that is
locked: its holder must be asked to release it. ``create_directly`` says what that saves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from tusd_py.contracts.direct import (
    DirectDeletion,
    DirectLock,
    DirectLocker,
    DirectRecordChanges,
    DirectStore,
    DirectTransitions,
)
from tusd_py.model.hooks import Hook
from tusd_py.model.ids import is_generated_id
from tusd_py.model.jobs import Effects
from tusd_py.model.principal import Principal, Verb
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol import rules
from tusd_py.protocol.outcomes import Appended, Inspected, Terminated
from tusd_py.protocol.requests import Append, Inspect, Terminate
from tusd_py.uploads.authorize import is_revocable, permits_as_it_is
from tusd_py.uploads.body.sniffer import sniffer_for
from tusd_py.uploads.commit import Cause, effects_of
from tusd_py.uploads.create_directly import concerned_parts, direct_caller
from tusd_py.uploads.known_writers import KnownWriters
from tusd_py.uploads.locking import may_be_ahead_of_bytes
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.finish import completed, needs_finish
from tusd_py.uploads.upload_log import log_change

log = logging.getLogger(__name__)

_HOOKS = (
    Hook.AUTHORIZE,
    Hook.POST_RECEIVE,
    Hook.PRE_FINISH,
    Hook.POST_FINISH,
    Hook.PRE_TERMINATE,
    Hook.POST_TERMINATE,
)

_VERBS: dict[type[Append | Inspect | Terminate], Verb] = {
    Append: Verb.APPEND,
    Inspect: Verb.INSPECT,
    Terminate: Verb.TERMINATE,
}
#: How many requests to terminate an upload look for it first after one that found none.
_LOOKUPS = 16

#: The requests that can be direct.
DirectRequest = Append | Inspect | Terminate
DirectOutcome = Appended | Inspected | Terminated

#: Called once with the outcome; or with the failure of something that the use case must not repeat; or with neither:
#: then the use case has to answer the request.
OnOutcome = Callable[[DirectOutcome | None, BaseException | None], None]


def direct_changes(ports: Ports, writers: KnownWriters | None = None) -> DirectChanges | None:
    """Changes without a task, if these backends and settings allow them. ``writers`` are known to creations too."""
    records, store, locker = ports.records, ports.store, ports.locker
    if not isinstance(records, DirectRecordChanges) or not isinstance(locker, DirectLocker):
        return None
    if not isinstance(store, DirectStore) or not isinstance(store, DirectDeletion):
        return None
    if ports.policy.subscriptions or any(ports.hooks.handles(hook) for hook in _HOOKS) or concerned_parts(ports):
        return None
    return DirectChanges(ports, records, locker, store, store, writers or KnownWriters())


class DirectChanges:
    """Begins requests for an upload; they continue in callbacks of the event loop. Built once."""

    def __init__(
        self,
        ports: Ports,
        records: DirectRecordChanges,
        locker: DirectLocker,
        store: DirectStore,
        deletion: DirectDeletion,
        writers: KnownWriters,
    ) -> None:
        self.ports = ports
        self.records = records
        self._transitions = records if isinstance(records, DirectTransitions) else None
        self.store = store
        self.deletion = deletion
        self.locker = locker
        self.writers = writers
        self._lookups_left = 0

    def begin(
        self,
        request: DirectRequest,
        pieces: Sequence[bytes],
        client: str,
        principal: Principal | None,
        request_id: str,
        on_outcome: OnOutcome,
    ) -> bool:
        """Begin ``request`` with a body of ``pieces``, and return whether that was possible.

        ``principal`` is ``None`` while access control is off. False: nothing has been done, and the use case has to
        answer the request. Raises ``LocksUnavailable`` or ``RecordsUnavailable``, which it would raise as well.
        """
        size = sum(map(len, pieces))
        if not _is_plain(request, size) or (size and not self._may_bring_bytes(principal)):
            return False
        change = _Change(self, request, pieces, size, client, principal, request_id, on_outcome)
        if principal is not None and not self.writers.has(request.upload_id, principal):
            # No lock is requested for a client that may not write.
            self.records.begin_find(request.upload_id, change.on_seen)
        elif not change.lock():
            return False
        else:
            try:
                if not (isinstance(request, Terminate) and principal is None and self._terminate(change, request)):
                    self.records.begin_find(request.upload_id, change.on_found)
            except BaseException:
                change.unlock()
                raise
        # The server that stops waits for its requests, but not for one whose client is gone before a task answers it.
        self.ports.background.begin()
        return True

    def _terminate(self, change: _Change, request: Terminate) -> bool:
        """Find and end the upload in one step, if the records do that and the upload is likely to be there."""
        return (
            self._transitions is not None
            and not self._lookups_left
            and self._transitions.begin_transition(
                request.upload_id, change.terminate, change.on_terminated, durable=True
            )
        )

    def note_termination(self, *, is_found: bool) -> None:
        """Note whether a request to terminate an upload has found it.

        The one step takes a place in a transaction that other writers wait for. So after a request that found nothing
        the next ones look first, which delays no writer.
        """
        if not is_found:
            self._lookups_left = _LOOKUPS
        elif self._lookups_left:
            self._lookups_left -= 1

    def _may_bring_bytes(self, principal: Principal | None) -> bool:
        """Whether a body needs to wait for no other one, and its type needs no look."""
        rates = self.ports.rates
        may_wait = rates.bodies is not None or rates.bandwidth is not None
        return not may_wait and (principal is None or principal.limits.types is None)


def _is_plain(request: DirectRequest, size: int) -> bool:
    """Whether the whole body has arrived, ``size`` bytes, without anything that has to be looked at."""
    if not isinstance(request, Append):
        return not size
    body = request.body
    return (
        0 < size == body.length
        and not body.is_verified
        and body.bounds is None
        and request.length is None
        and request.is_last is None
        and request.unsupported is None
    )


class _Unusual(Exception):
    """The request is left to its use case."""


class _Change:
    """One request for an upload, which it locks. Its callbacks do not raise."""

    __slots__ = (
        "_after",
        "_begun",
        "_client",
        "_lock",
        "_on_outcome",
        "_pieces",
        "_principal",
        "_request",
        "_request_id",
        "_size",
        "_upload",
    )

    def __init__(
        self,
        begun: DirectChanges,
        request: DirectRequest,
        pieces: Sequence[bytes],
        size: int,
        client: str,
        principal: Principal | None,
        request_id: str,
        on_outcome: OnOutcome,
    ) -> None:
        self._begun = begun
        self._lock: DirectLock | None = None
        self._request = request
        self._pieces = pieces
        self._size = size
        self._client = client
        self._principal = principal
        self._request_id = request_id
        self._on_outcome = on_outcome
        self._upload: Upload  # as recorded
        self._after: Upload  # as it is being recorded

    def lock(self) -> bool:
        """Lock the upload, if it is not locked; return whether it was possible."""
        self._lock = self._begun.locker.try_acquire_now(self._request.upload_id)
        return self._lock is not None

    def unlock(self) -> None:
        """Release the lock, if it was acquired."""
        if self._lock is not None:
            self._lock.release_now()
            self._lock = None

    def on_seen(self, upload: Upload | None, failure: BaseException | None) -> None:
        """Lock the upload if the client may write to it, and read it again: another request may have changed it."""
        begun, principal = self._begun, self._principal
        if failure is not None:
            self._give_up(failure)
            return
        try:
            assert principal is not None, "without access control the lock comes first"
            if upload is None or not self._is_permitted(upload) or not self.lock():
                raise _Unusual
            begun.writers.add(upload.id, principal)
            begun.records.begin_find(upload.id, self.on_found)
        except Exception as refusal:  # noqa: BLE001 - the outermost handler, as below
            self._give_up(refusal)

    def on_found(self, upload: Upload | None, failure: BaseException | None) -> None:
        """Go on with the upload as it is recorded."""
        if failure is not None:
            self._give_up(failure)
            return
        try:
            self._go_on(upload)
        except Exception as refusal:  # noqa: BLE001 - the outermost handler: the use case meets the same, and answers it
            self._give_up(refusal)

    def _go_on(self, upload: Upload | None) -> None:
        request, ports = self._request, self._begun.ports
        now = ports.clock()
        if upload is not None and not self._is_permitted(upload):
            raise _Unusual
        if isinstance(request, Terminate):
            self._begun.note_termination(is_found=upload is not None and not upload.has_ended)
            after, effects = self.terminate(upload)
            self._after = self._begun.records.begin_update(self._upload, after, effects, self._on_terminated)
            return
        upload = _ordinary(rules.ensure_available(upload, now))
        if may_be_ahead_of_bytes(ports, upload):
            raise _Unusual
        if isinstance(request, Inspect):
            is_open = upload.status is Status.UPLOADING and upload.offset == upload.length
            if needs_finish(upload) or upload.length is None or (request.length_completes and is_open):
                raise _Unusual
            self._end(Inspected(upload=upload))
            return
        if upload.is_complete or upload.length is None or sniffer_for(ports, upload) is not None:
            raise _Unusual
        if upload.offset + self._size == upload.length and is_revocable(ports, self._principal):
            raise _Unusual
        rules.append(request, upload, ports.policy.limits_for(self._principal))
        self._upload = upload
        durable = upload.offset + self._size == upload.length or ports.policy.durable_saves
        self._begun.store.begin_write(upload, self._pieces, self._on_stored, durable=durable)

    def terminate(self, upload: Upload | None) -> tuple[Upload, Effects]:
        """The upload as terminated, with its effects. May run in the thread of the records: it is a ``Decide``."""
        ports = self._begun.ports
        now = ports.clock()
        # Final uploads may need a partial one.
        self._upload = upload = _ordinary(rules.terminate(upload, now, ()))
        ended = upload.with_status(Status.TERMINATED, now)
        after = ended.expiring(ports.policy.expiry(ended, now))
        return after, self._effects(after)

    def on_terminated(self, saved: Upload | None, failure: BaseException | None) -> None:
        """Go on with the upload, which was found and recorded as terminated in one step."""
        if saved is not None:
            self._after = saved
        else:
            self._begun.note_termination(is_found=False)
        self._on_terminated(failure)

    def _is_permitted(self, upload: Upload) -> bool:
        ports, principal = self._begun.ports, self._principal
        if ports.access is None or principal is None:
            assert ports.access is None, "access control is on: the web authenticates every request"
            return True
        return permits_as_it_is(ports, ports.access, principal, _VERBS[type(self._request)], upload)

    def _on_stored(self, failure: BaseException | None) -> None:
        """Record the bytes, which are stored."""
        if failure is None:
            try:
                ports, upload = self._begun.ports, self._upload
                now = ports.clock()
                after = upload.advance(upload.offset + self._size, now)
                if after.offset == after.length:
                    after = completed(ports, after)
                self._update(after.expiring(ports.policy.expiry(after, now)), self._on_appended)
                return
            except Exception as error:  # noqa: BLE001 - the outermost handler; the bytes do not count
                failure = error
        self._give_up(failure)

    def _update(self, after: Upload, on_done: Callable[[BaseException | None], None]) -> None:
        self._after = self._begun.records.begin_update(self._upload, after, self._effects(after), on_done)

    def _effects(self, after: Upload) -> Effects:
        caller = direct_caller("", self._client, self._principal)
        return effects_of(self._begun.ports, self._upload, after, Cause(caller))

    def _on_appended(self, failure: BaseException | None) -> None:
        if failure is not None:
            self._give_up(failure)
            return
        self._note()
        if self._after.is_complete:
            self._begun.ports.count_complete(self._after)
        self._end(Appended(upload=self._after))

    def _on_terminated(self, failure: BaseException | None) -> None:
        """Delete the bytes of the upload, which is recorded as terminated."""
        if failure is not None:
            self._give_up(failure)
            return
        self._note()
        try:
            self._begun.deletion.begin_delete(self._after, self._on_deleted)
        except Exception as error:  # noqa: BLE001 - the outermost handler: the client must be answered
            self._on_deleted(error)

    def _on_deleted(self, failure: BaseException | None) -> None:
        # Not again if that failed: the upload has ended, and the sweeper deletes its bytes later.
        self._end(Terminated(upload=self._after) if failure is None else None, failure)

    def _note(self) -> None:
        try:
            log_change(self._upload, self._after, self._client, self._request_id)
        except Exception:
            # The outermost handler of this callback: the change is recorded, so its client must learn of it.
            log.exception("a change was recorded, but not logged")

    def _give_up(self, failure: BaseException) -> None:
        if not isinstance(failure, _Unusual):
            log.debug("not answered directly: %s: %s", type(failure).__name__, failure)
        self._end(None)

    def _end(self, outcome: DirectOutcome | None, failure: BaseException | None = None) -> None:
        """Release the lock, then report: a task that answers the request after all needs the lock."""
        try:
            self.unlock()
        except Exception:
            # The outermost handler of this callback, as above.
            log.exception("could not release the lock of upload %s", self._request.upload_id)
        self._begun.ports.background.end()
        self._on_outcome(outcome, failure)


def _ordinary(upload: Upload) -> Upload:
    """``upload``, if other uploads, codes and paths do not concern it. Raises ``_Unusual``."""
    if upload.kind is not Kind.REGULAR or upload.grant or upload.storage or not is_generated_id(upload.id):
        raise _Unusual
    return upload
