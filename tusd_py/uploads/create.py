"""POST: an upload is made, perhaps with its first bytes, perhaps of partial uploads."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from tusd_py.cancellation import finish_despite_cancel, shielded
from tusd_py.contracts.body import RequestBody
from tusd_py.contracts.hooks import HookEvent
from tusd_py.contracts.locker import Lock
from tusd_py.contracts.progress import ProgressListener
from tusd_py.contracts.records import RecordExists
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
from tusd_py.uploads.body.committer import Committer
from tusd_py.uploads.body.progress import ProgressReporter
from tusd_py.uploads.body.receiver import BodyReceiver
from tusd_py.uploads.commit import Cause, insert
from tusd_py.uploads.concatenate import concatenate
from tusd_py.uploads.hook_calls import invoke_later
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.assemble import delete_parts, part_completed
from tusd_py.uploads.processing.finish import completed, finish
from tusd_py.uploads.reservation import (
    delete_unrecorded,
    insert_reserved,
    locked_for_creation,
    reserve_storage,
    rollback_on_error,
)
from tusd_py.uploads.terminate import terminate_locked


async def create(
    ports: Ports, request: Create, caller: Caller, source: RequestBody, listener: ProgressListener | None = None
) -> Created:
    """Make an upload and store the body, if it has one.

    A refused creation leaves nothing behind. A body that is cut leaves the upload with what came of it; and where
    ``listener`` was told of it before, so does every failure but that of its content. Raises ``TusError``,
    ``StoreError``, ``RecordsError`` or ``HookFailed``.
    """
    rules.create(request, ports.policy.limits)
    now = ports.clock()
    upload = Upload(
        id=ports.new_id(),
        kind=request.kind,
        length=request.length,
        metadata_header=request.metadata_header,
        concat_header=request.concat_header,
        parts=request.parts,
        owner=caller.owner,
        created_at=now,
        updated_at=now,
        history=(HistoryEntry(Status.UPLOADING, now),),
    )
    if request.kind is Kind.FINAL:
        made = await concatenate(
            ports, request, upload, lambda final: _run_pre_hook(ports, final, caller), Cause(caller)
        )
        upload, overlay = made.upload, made.override
        invoke_later(ports, Hook.POST_CREATE, upload, caller)
    else:
        server_chose = upload.id
        upload, overlay = await _run_pre_hook(ports, upload, caller)
        upload = upload.expiring(ports.policy.expiry(upload, now))
        if request.body is None and upload.id == server_chose and not upload.storage:
            upload = await _add(ports, upload, caller, request.is_last)
        else:
            async with locked_for_creation(ports, upload, by_hook=upload.id != server_chose) as lock:
                if request.body is None:
                    upload = await _add(ports, upload, caller, request.is_last)
                else:
                    filling = _CreationWithUpload(ports, upload, caller, source, listener, request.is_last)
                    upload = await filling.run(request.body, lock)
    if upload.is_complete:
        ports.count_complete(upload)
        part_completed(ports, upload)
        finished = await finish(ports, upload, caller)
        upload, overlay = finished.upload, finished.override or overlay
        if upload.kind is Kind.FINAL and ports.policy.delete_concatenated_parts:
            ports.background.spawn(f"{upload.id}.parts", delete_parts(ports, upload))
    return Created(upload=upload, took_body=request.body is not None, override=overlay)


async def _run_pre_hook(ports: Ports, upload: Upload, caller: Caller) -> tuple[Upload, ResponseOverride | None]:
    """The upload as pre-create wants it. Raises ``UploadRejected``."""
    if not ports.hooks.handles(Hook.PRE_CREATE):
        return upload, None
    # tusd tells this hook no id: there is none yet.
    answer = await ports.hooks.invoke(HookEvent(Hook.PRE_CREATE, replace(upload, id=""), caller))
    if answer.reject:
        raise UploadRejected().with_response(answer.override)
    assert answer.upload_id is None or is_upload_id(answer.upload_id), "the gate lets no other id through"
    return answer.applied_to(upload), answer.override


async def _add(ports: Ports, upload: Upload, caller: Caller, completes: bool | None) -> Upload:
    """Record an upload that brings no bytes; one of length 0 is complete with that, unless the client says not yet."""
    upload = await reserve_storage(ports, upload)
    if upload.length == 0 and completes is not False:
        upload = await _add_empty(ports, upload, caller)
    else:
        await insert_reserved(ports, upload, Cause(caller))
    invoke_later(ports, Hook.POST_CREATE, upload, caller)
    return upload


async def _add_empty(ports: Ports, upload: Upload, caller: Caller) -> Upload:
    async with rollback_on_error(ports, upload):
        sink = ports.store.open(upload)
        try:
            await sink.flush(durable=True)
            upload = completed(ports, upload.with_storage(sink.state))
        finally:
            await sink.close()
        upload = upload.expiring(ports.policy.expiry(upload, upload.updated_at))
        await shielded(insert(ports, upload, Cause(caller)))
    return upload


@dataclass(slots=True)
class _CreationWithUpload:
    """Creation With Upload. The record is made with the first save: a small upload costs one write, not two.

    Nobody knows the URL before the answer, so nobody misses the record until then; but the upload is held, for whoever
    lists uploads finds it as soon as it is saved, and a hook may have chosen an id that the client knows. A listener is
    told the URL before the body, so for one the record comes first.
    """

    ports: Ports
    upload: Upload
    caller: Caller
    source: RequestBody
    listener: ProgressListener | None
    completes: bool | None
    is_announced: bool = False  # the client may come back for it

    async def run(self, body: BodyInfo, lock: Lock) -> Upload:
        self.upload = upload = await reserve_storage(self.ports, self.upload)
        progress = ProgressReporter(self.ports, self.caller, self.source, self.listener)
        committer = Committer(self.ports, self.caller, progress, is_recorded=False)
        receiving = BodyReceiver(self.ports, upload, committer, self.completes)
        # Who asks for this hold knows the URL: what came is kept for them.
        lock.on_release_requested(lambda: self.source.stop(UploadInterrupted()))
        try:
            if self.listener is not None:
                await shielded(committer.insert(upload))
                self.is_announced = self.listener.on_created(upload)
            room = rules.remaining(upload, upload.length, self.ports.policy.limits)
            upload = await receiving.run(self.source, body, room, upload.length)
            return upload if committer.is_recorded else await _add(self.ports, upload, self.caller, self.completes)
        except (BodyIncomplete, UploadInterrupted) as cut:
            # "The Server SHOULD always attempt to store as much of the received data as possible."
            if not body.is_verified or body.keep_partial:
                if not committer.is_recorded:
                    await committer.insert(receiving.upload)
            else:
                await self._undo(receiving, committer, cut)
            raise cut.with_upload(receiving.upload) from None
        except Exception as failure:
            if self.is_announced and not isinstance(failure, ChecksumMismatch | TypeNotAllowed | UploadStopped):
                await self._keep(receiving, failure)
            else:
                await self._undo(receiving, committer, failure)
            raise
        except asyncio.CancelledError:
            await receiving.close()
            if not committer.is_recorded:
                await finish_despite_cancel(delete_unrecorded(self.ports, upload))
            raise
        finally:
            await receiving.close()

    async def _keep(self, receiving: BodyReceiver, failure: Exception) -> None:
        """The client knows the URL and may come back for what is saved, but not to go beyond its own length."""
        if isinstance(failure, LengthExceeded):
            await receiving.invalidate("the body went beyond the length")
        if isinstance(failure, TusError):
            failure.with_upload(receiving.upload)

    async def _undo(self, receiving: BodyReceiver, committer: Committer, failure: Exception) -> None:
        """Whoever is refused never learns the URL: what was made so far would be found by nobody."""
        # First, or a write that still waits for its turn would bring the bytes back.
        await receiving.close()
        if committer.is_recorded:
            await terminate_locked(self.ports, receiving.upload, self.caller)
        elif not isinstance(failure, RecordExists):
            await self.ports.store.delete(receiving.upload)
