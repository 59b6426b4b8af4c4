"""PATCH: bytes are added at the upload's offset."""

from __future__ import annotations

from dataclasses import dataclass

from tusd_py.contracts.body import RequestBody
from tusd_py.contracts.locker import Lock
from tusd_py.contracts.progress import ProgressListener
from tusd_py.model.caller import Caller
from tusd_py.model.upload import Upload
from tusd_py.protocol import rules
from tusd_py.protocol.errors import LengthExceeded, TusError, TypeNotAllowed, UploadInterrupted, UploadStopped
from tusd_py.protocol.outcomes import Appended
from tusd_py.protocol.requests import Append
from tusd_py.uploads.body.committer import Committer
from tusd_py.uploads.body.progress import ProgressReporter
from tusd_py.uploads.body.receiver import BodyReceiver
from tusd_py.uploads.locking import load, locked
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.assemble import part_completed
from tusd_py.uploads.processing.finish import finish
from tusd_py.uploads.terminate import terminate_locked


async def append(
    ports: Ports, request: Append, caller: Caller, source: RequestBody, listener: ProgressListener | None = None
) -> Appended:
    """Store the body from ``request.offset`` on; what came before a cut, a takeover or a full disk is kept.

    ``listener`` is told of every save while the body runs.
    Raises ``TusError`` (with the upload as it then stands), ``LockTimeout``, ``StoreError``, ``RecordConflict`` or
    ``HookFailed`` (pre-finish; everything is stored, and asked again by the next request).
    """
    async with locked(ports, request.upload_id) as lock:
        upload = await load(ports, request.upload_id)
        was_complete = upload.is_complete
        upload = await _AppendBody(ports, request, caller, source, listener).run(upload, lock)
        if not upload.is_complete:
            return Appended(upload=upload)
        if not was_complete:
            ports.count_complete(upload)
            part_completed(ports, upload)
        finished = await finish(ports, upload, caller)
    return Appended(upload=finished.upload, override=finished.override)


@dataclass(frozen=True, slots=True)
class _AppendBody:
    ports: Ports
    request: Append
    caller: Caller
    source: RequestBody
    listener: ProgressListener | None

    async def run(self, upload: Upload, lock: Lock) -> Upload:
        request = self.request
        length = upload.length if request.length is None else request.length
        progress = ProgressReporter(self.ports, self.caller, self.source, self.listener)
        committer = Committer(self.ports, self.caller, progress)
        receiving = BodyReceiver(self.ports, upload, committer, request.is_last)
        # A newcomer gets the hold as soon as what has arrived is saved.
        lock.on_release_requested(lambda: self.source.stop(UploadInterrupted()))
        try:
            room = rules.append(request, upload, self.ports.policy.limits)
            return await receiving.run(self.source, request.body, room, length)
        except (UploadStopped, TypeNotAllowed):
            # First, or a write that still waits for its turn would bring the bytes back.
            await receiving.close()
            await terminate_locked(self.ports, receiving.upload, self.caller)
            raise
        except TusError as refusal:
            if isinstance(refusal, LengthExceeded) and request.is_last is not None:
                # The draft, Append: "rejecting the request once the offset exceeds the length, marking the upload
                # resource invalid and rejecting any further interaction with it".
                await receiving.invalidate("a body went beyond its length")
            raise refusal.with_upload(receiving.upload) from None
        finally:
            await receiving.close()
