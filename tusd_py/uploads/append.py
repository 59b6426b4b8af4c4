"""PATCH: append bytes at the upload's offset."""

from __future__ import annotations

from dataclasses import dataclass

from tusd_py.access.quota import subject_of
from tusd_py.contracts.body import RequestBody
from tusd_py.contracts.locker import Lock
from tusd_py.contracts.progress import ProgressListener
from tusd_py.contracts.records import RecordConflict
from tusd_py.model.caller import Caller
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol import rules
from tusd_py.protocol.errors import LengthExceeded, TusError, TypeNotAllowed, UploadInterrupted, UploadStopped
from tusd_py.protocol.outcomes import Appended
from tusd_py.protocol.requests import Append
from tusd_py.uploads.body.committer import Committer
from tusd_py.uploads.body.progress import ProgressReporter
from tusd_py.uploads.body.receiver import BodyReceiver
from tusd_py.uploads.grant_check import ensure_grant, grant_refusal
from tusd_py.uploads.locking import interruption_of, load, locked
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.assemble import part_completed
from tusd_py.uploads.processing.finish import finish
from tusd_py.uploads.quota_room import drop_unrecorded, may_have_unrecorded, needs_room, within_quota
from tusd_py.uploads.stop import stopped
from tusd_py.uploads.terminate import terminate_locked
from tusd_py.uploads.type_limits import ensure_type_allowed


async def append(
    ports: Ports, request: Append, caller: Caller, body: RequestBody, listener: ProgressListener | None = None
) -> Appended:
    """Store the body from ``request.offset`` on; finish the upload if these are its last bytes.

    Bytes that arrive before a broken connection, a takeover or a full disk are kept. ``listener`` is notified of every
    save while the body arrives. Raises ``TusError`` (its ``upload`` is the record as saved), ``LockTimeout``,
    ``StoreError``, ``RecordConflict`` or ``HookFailed`` (pre-finish: every byte is stored, and the next request invokes
    the hook again).
    """
    slots = ports.rates.bodies
    if slots is None:
        return await _append(ports, request, caller, body, listener)
    # Before the lock: what waits here must not hold up other requests for the upload.
    async with slots.acquired(subject_of(caller.owner, caller.client), request.upload_id):
        return await _append(ports, request, caller, body, listener)


async def _append(
    ports: Ports, request: Append, caller: Caller, body: RequestBody, listener: ProgressListener | None
) -> Appended:
    async with locked(ports, request.upload_id, caller) as lock:
        await ensure_grant(ports, caller)
        upload = await load(ports, request.upload_id)
        if may_have_unrecorded(ports, upload):
            await drop_unrecorded(ports, upload)
        if not upload.offset:
            ensure_type_allowed(caller.principal, upload.metadata_header, upload.kind)
        was_complete = upload.is_complete
        upload = await _AppendBody(ports, request, caller, body, listener).run(upload, lock)
        if not upload.is_complete:
            return Appended(upload=upload)
        if not was_complete:
            ports.count_complete(upload)
            part_completed(ports, upload)
        finished = await finish(ports, upload, caller)
    return Appended(upload=finished.upload, override=finished.override)


@dataclass(frozen=True, slots=True)
class _AppendBody:
    """Receives the body of one PATCH and handles what can go wrong with it."""

    ports: Ports
    request: Append
    caller: Caller
    body: RequestBody
    listener: ProgressListener | None

    async def run(self, upload: Upload, lock: Lock) -> Upload:
        request = self.request
        length = upload.length if request.length is None else request.length
        progress = ProgressReporter(self.ports, self.caller, self.body, self.listener)
        receiver = BodyReceiver(self.ports, upload, Committer(self.ports, self.caller, progress), request.is_last)
        # Another request for this upload gets the lock as soon as the bytes received so far are saved.
        lock.on_release_requested(lambda: self.body.stop(interruption_of(lock)))
        try:
            remaining = rules.append(request, upload, self.ports.policy.limits_for(self.caller.principal))
            if needs_room(self.ports, upload, length, request.body):
                remaining = await within_quota(self.ports, upload, self.caller, request.body, remaining)
            return await receiver.run(self.body, request.body, remaining, length)
        except (RecordConflict, UploadInterrupted) as interruption:
            if (refusal := await stopped(self.ports, upload.id)) is not None:
                raise refusal from interruption
            if (ended := await grant_refusal(self.ports, self.caller)) is not None:
                raise ended.with_upload(receiver.upload) from interruption
            if isinstance(interruption, UploadInterrupted):
                interruption.with_upload(receiver.upload)
            raise
        except UploadStopped:
            # Close first: a write that is still queued would bring the bytes back.
            await receiver.close()
            await terminate_locked(self.ports, receiver.upload, self.caller)
            raise
        except TypeNotAllowed as refusal:
            if receiver.upload.status is not Status.REJECTED:
                await receiver.reject(refusal.reason)
            raise refusal.with_upload(receiver.upload) from None
        except TusError as refusal:
            if isinstance(refusal, LengthExceeded) and request.is_last is not None:
                # The draft, Append: "rejecting the request once the offset exceeds the length, marking the upload
                # resource invalid and rejecting any further interaction with it".
                await receiver.invalidate("a body exceeded the length of the upload")
            raise refusal.with_upload(receiver.upload) from None
        finally:
            await receiver.close()
