"""DELETE: end an upload and delete its bytes. A tombstone remains for a while."""

from __future__ import annotations

from tusd_py.contracts.hooks import HookEvent
from tusd_py.contracts.records import RecordConflict
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol import rules
from tusd_py.protocol.errors import TerminationRejected
from tusd_py.protocol.outcomes import ResponseOverride, Terminated
from tusd_py.protocol.requests import Terminate
from tusd_py.uploads.commit import Cause, update
from tusd_py.uploads.hook_calls import invoke_later
from tusd_py.uploads.locking import locked
from tusd_py.uploads.ports import Ports


async def terminate(ports: Ports, request: Terminate, caller: Caller) -> Terminated:
    """End the upload. A running PATCH is stopped first and cannot bring the bytes back.

    Raises ``TusError``, ``LockTimeout``, ``RecordConflict`` or ``HookFailed`` (pre-terminate; nothing is deleted).
    """
    async with locked(ports, request.upload_id, caller):
        upload = await ports.records.find(request.upload_id)
        waiting = await ports.records.finals_waiting(upload.id) if upload and upload.kind is Kind.PARTIAL else []
        upload = rules.terminate(upload, ports.clock(), waiting)
        override = await _run_pre_hook(ports, upload, caller)
        return Terminated(upload=await terminate_locked(ports, upload, caller), override=override)


async def terminate_locked(ports: Ports, upload: Upload, caller: Caller | None) -> Upload:
    """End an upload whose lock the caller holds: first its record, then its bytes.

    After a crash in between, every client finds the upload ended, and the sweeper deletes the bytes with the tombstone.
    """
    try:
        ended = await _mark_terminated(ports, upload, caller)
    except RecordConflict:
        # Background work changes records without the lock: post-finish has returned, or the upload was assembled.
        newest = await ports.records.find(upload.id)
        if newest is None or newest.has_ended:
            raise
        ended = await _mark_terminated(ports, newest, caller)
    invoke_later(ports, Hook.POST_TERMINATE, ended, caller)
    await ports.store.delete(ended)
    return ended


async def _mark_terminated(ports: Ports, upload: Upload, caller: Caller | None) -> Upload:
    now = ports.clock()
    ended = upload.with_status(Status.TERMINATED, now)
    return await update(ports, upload, ended.expiring(ports.policy.expiry(ended, now)), Cause(caller))


async def _run_pre_hook(ports: Ports, upload: Upload, caller: Caller) -> ResponseOverride | None:
    """Invoke pre-terminate. Raises ``TerminationRejected``."""
    if not ports.hooks.handles(Hook.PRE_TERMINATE):
        return None
    response = await ports.hooks.invoke(HookEvent(Hook.PRE_TERMINATE, upload, caller))
    if response.reject:
        raise TerminationRejected().with_response(response.override)
    return response.override
