"""POST: create an upload, which may bring its first bytes or consist of partial uploads."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from tusd_py.access.quota import subject_of
from tusd_py.cancellation import finish_despite_cancel, shielded
from tusd_py.contracts.body import RequestBody
from tusd_py.contracts.hooks import HookEvent
from tusd_py.contracts.locker import Lock
from tusd_py.contracts.progress import ProgressListener
from tusd_py.contracts.records import RecordConflict, RecordExists
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.ids import is_upload_id
from tusd_py.model.upload import HistoryEntry, Kind, Status, Upload
from tusd_py.protocol import rules
from tusd_py.protocol.errors import (
    BodyIncomplete,
    ChecksumMismatch,
    LengthExceeded,
    TusError,
    TypeNotAllowed,
    UploadInterrupted,
    UploadRejected,
    UploadStopped,
)
from tusd_py.protocol.outcomes import Created, ResponseOverride
from tusd_py.protocol.requests import BodyInfo, Create
from tusd_py.uploads.background import TaskKind, task_key
from tusd_py.uploads.body.committer import Committer
from tusd_py.uploads.body.progress import ProgressReporter
from tusd_py.uploads.body.receiver import BodyReceiver
from tusd_py.uploads.commit import Cause, insert
from tusd_py.uploads.concatenate import concatenate
from tusd_py.uploads.hook_calls import invoke_later
from tusd_py.uploads.locking import interruption_of
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.assemble import delete_parts, part_completed
from tusd_py.uploads.processing.finish import completed, finish
from tusd_py.uploads.quota_room import needs_room, within_quota
from tusd_py.uploads.reservation import (
    delete_unrecorded,
    insert_reserved,
    locked_for_creation,
    reserve_storage,
    rollback_on_error,
)
from tusd_py.uploads.stop import stopped
from tusd_py.uploads.terminate import terminate_locked
from tusd_py.uploads.type_limits import allowed_types_detail, ensure_type_allowed


async def create(
    ports: Ports, request: Create, caller: Caller, body: RequestBody, listener: ProgressListener | None = None
) -> Created:
    """Create an upload and store the body of the request, if it has one.

    A refused creation leaves nothing behind. If the body is cut, the upload remains with the bytes that arrived; if
    ``listener`` has sent the URL to the client, it remains after every failure except one of its content. Raises
    ``TusError``, ``StoreError``, ``RecordsError`` or ``HookFailed``.
    """
    rules.create(request, ports.policy.limits_for(caller.principal))
    ensure_type_allowed(caller.principal, request.metadata_header, request.kind)
    # By file: the parts of a parallel upload are not counted, their final upload is.
    if ports.rates.creations is not None and request.kind is not Kind.PARTIAL:
        await ports.rates.creations.ensure_allowed(caller.owner, caller.client)
    if caller.new_link is None:
        # An application makes links for many clients.
        await ports.empty_uploads.ensure_allowed(caller.client, ports.records.find_empty)
    try:
        if ports.rates.bodies is None or request.body is None:
            created = await _create(ports, request, caller, body, listener)
        else:
            async with ports.rates.bodies.acquired(subject_of(caller.owner, caller.client)):
                created = await _create(ports, request, caller, body, listener)
    except TusError as refusal:
        if refusal.upload is not None:
            _count_if_empty(ports, refusal.upload, caller)
        raise
    _count_if_empty(ports, created.upload, caller)
    return created


def _count_if_empty(ports: Ports, upload: Upload, caller: Caller) -> None:
    if not upload.offset and not upload.is_complete and caller.new_link is None:
        ports.empty_uploads.add(caller.client, upload.id)


async def _create(
    ports: Ports, request: Create, caller: Caller, body: RequestBody, listener: ProgressListener | None
) -> Created:
    now = ports.clock()
    upload = Upload(
        id=ports.new_id(),
        kind=request.kind,
        length=request.length,
        metadata_header=request.metadata_header,
        concat_header=request.concat_header,
        parts=request.parts,
        owner=caller.owner,
        grant=_grant(caller),
        length_max=request.length_max,
        created_at=now,
        updated_at=now,
        history=(HistoryEntry(Status.UPLOADING, now, details=allowed_types_detail(caller)),),
    )
    if request.kind is Kind.FINAL:
        made = await concatenate(
            ports, request, upload, lambda final: _run_pre_hook(ports, final, caller), Cause(caller)
        )
        upload, override = made.upload, made.override
        invoke_later(ports, Hook.POST_CREATE, upload, caller)
    else:
        id_of_server = upload.id
        upload, override = await _run_pre_hook(ports, upload, caller)
        if caller.new_link is not None:
            upload = upload.expiring(caller.new_link.expires_at)  # the earliest; the policy may keep it longer
        upload = upload.expiring(ports.policy.expiry(upload, now))
        if request.body is None and upload.id == id_of_server and not upload.storage:
            upload = await _insert_without_bytes(ports, upload, caller, request.is_last)
        else:
            async with locked_for_creation(ports, upload, by_hook=upload.id != id_of_server) as (lock, upload):
                if request.body is None:
                    upload = await _insert_without_bytes(ports, upload, caller, request.is_last)
                else:
                    creation = _CreationWithUpload(ports, upload, caller, body, listener, request.is_last)
                    upload = await creation.run(request.body, lock)
    if upload.is_complete:
        ports.count_complete(upload)
        part_completed(ports, upload)
        finished = await finish(ports, upload, caller)
        upload, override = finished.upload, finished.override or override
        if upload.kind is Kind.FINAL and ports.policy.delete_concatenated_parts:
            ports.background.spawn(task_key(TaskKind.DELETE_PARTS, upload.id), delete_parts(ports, upload))
    return Created(upload=upload, took_body=request.body is not None, override=override)


def _grant(caller: Caller) -> str:
    """The link that the request makes, or the code whose bearer the client is."""
    if caller.new_link is not None:
        return caller.new_link.grant
    return "" if caller.principal is None else caller.principal.grant


async def _run_pre_hook(ports: Ports, upload: Upload, caller: Caller) -> tuple[Upload, ResponseOverride | None]:
    """The upload as pre-create changes it, and the hook's response override. Raises ``UploadRejected``."""
    if not ports.hooks.handles(Hook.PRE_CREATE):
        return upload, None
    # As in tusd, this hook gets no id: it may choose one.
    response = await ports.hooks.invoke(HookEvent(Hook.PRE_CREATE, replace(upload, id=""), caller))
    if response.reject:
        raise UploadRejected().with_response(response.override)
    assert response.upload_id is None or is_upload_id(response.upload_id), "hook handlers validate the id"
    return response.applied_to(upload), response.override


async def _insert_without_bytes(ports: Ports, upload: Upload, caller: Caller, is_last: bool | None) -> Upload:
    """Record an upload that brings no bytes. One of length 0 is complete, unless the client says that more follows."""
    upload = await reserve_storage(ports, upload)
    if upload.length == 0 and is_last is not False:
        upload = await _insert_empty(ports, upload, caller)
    else:
        await insert_reserved(ports, upload, Cause(caller))
    invoke_later(ports, Hook.POST_CREATE, upload, caller)
    return upload


async def _insert_empty(ports: Ports, upload: Upload, caller: Caller) -> Upload:
    """Record an upload of length 0 as complete, with its empty content in the store."""
    async with rollback_on_error(ports, upload):
        sink = ports.store.open(upload)
        try:
            await sink.flush(durable=True)
            upload = completed(ports, upload.with_storage(sink.state))
            upload = upload.expiring(ports.policy.expiry(upload, upload.updated_at))
            await shielded(insert(ports, upload, Cause(caller)))
            await sink.committed()
        finally:
            await sink.close()
    return upload


@dataclass(slots=True)
class _CreationWithUpload:
    """Creation With Upload. The first save inserts the record: a small upload costs one write, not two.

    The client learns the URL with the response, so it cannot miss the record before. The upload is locked all the
    same: it is listed as soon as it is saved, and a hook may have chosen an id that the client knows. With a listener
    the client learns the URL before the body is read, so then the record comes first.
    """

    ports: Ports
    upload: Upload
    caller: Caller
    body: RequestBody
    listener: ProgressListener | None
    is_last: bool | None
    is_announced: bool = False  # the client knows the URL and may resume

    async def run(self, info: BodyInfo, lock: Lock) -> Upload:
        self.upload = upload = await reserve_storage(self.ports, self.upload)
        progress = ProgressReporter(self.ports, self.caller, self.body, self.listener)
        committer = Committer(self.ports, self.caller, progress, is_recorded=False)
        receiver = BodyReceiver(self.ports, upload, committer, self.is_last)
        # A client that requests the lock knows the URL: it resumes after the bytes received so far.
        lock.on_release_requested(lambda: self.body.stop(interruption_of(lock)))
        try:
            if self.listener is not None:
                await shielded(committer.insert(upload))
                self.is_announced = self.listener.on_created(upload)
            limits = self.ports.policy.limits_for(self.caller.principal)
            remaining = rules.remaining(upload, upload.length, limits, info)
            if needs_room(self.ports, upload, upload.length, info):
                remaining = await within_quota(self.ports, upload, self.caller, info, remaining)
            upload = await receiver.run(self.body, info, remaining, upload.length)
            if committer.is_recorded:
                return upload
            return await _insert_without_bytes(self.ports, upload, self.caller, self.is_last)
        except Exception as failure:
            if isinstance(failure, RecordConflict | UploadInterrupted):
                refusal = await stopped(self.ports, upload.id)
                if refusal is not None:
                    raise refusal from failure
            await self._clean_up(receiver, committer, failure, keeps_cut=not info.is_verified or info.keep_partial)
            raise
        except asyncio.CancelledError:
            await receiver.close()
            if not committer.is_recorded:
                await finish_despite_cancel(delete_unrecorded(self.ports, upload))
            raise
        finally:
            await receiver.close()

    async def _clean_up(
        self, receiver: BodyReceiver, committer: Committer, failure: Exception, *, keeps_cut: bool
    ) -> None:
        """Keep what a failed request has stored, or remove it."""
        if isinstance(failure, BodyIncomplete | UploadInterrupted):
            # "The Server SHOULD always attempt to store as much of the received data as possible."
            if not keeps_cut:
                await self._undo(receiver, committer, failure)
            elif not committer.is_recorded:
                await committer.insert(receiver.upload)
            failure.with_upload(receiver.upload)
        elif self.is_announced and not isinstance(failure, ChecksumMismatch | UploadStopped):
            await self._keep(receiver, failure)
        else:
            await self._undo(receiver, committer, failure)

    async def _keep(self, receiver: BodyReceiver, failure: Exception) -> None:
        """Keep what is saved: the client knows the URL and may resume.

        It may not if its body exceeded its own length or has a type that is not allowed, but then it learns why.
        """
        if isinstance(failure, LengthExceeded):
            await receiver.invalidate("the body exceeded the length of the upload")
        elif isinstance(failure, TypeNotAllowed):
            await receiver.reject(failure.reason)
        if isinstance(failure, TusError):
            failure.with_upload(receiver.upload)

    async def _undo(self, receiver: BodyReceiver, committer: Committer, failure: Exception) -> None:
        """Remove what was stored: a refused client never learns the URL, so it could not resume or terminate."""
        # Close first: a write that is still queued would bring the bytes back.
        await receiver.close()
        if committer.is_recorded:
            await terminate_locked(self.ports, receiver.upload, self.caller)
        elif not isinstance(failure, RecordExists):
            await self.ports.store.delete(receiver.upload)
