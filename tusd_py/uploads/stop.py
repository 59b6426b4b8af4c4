"""StopUpload: the receiver of a post-receive hook ends an upload that is still running."""

from __future__ import annotations

import json

from tusd_py.contracts.records import RecordConflict
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol.errors import UploadStopped
from tusd_py.protocol.outcomes import ResponseOverride
from tusd_py.uploads.commit import Cause, update
from tusd_py.uploads.hook_calls import invoke_later
from tusd_py.uploads.locking import locked
from tusd_py.uploads.ports import Ports

_REASON = "stopped by a receiver"
_RESPONSE = "response"
_ATTEMPTS_MAX = 20


async def stop(ports: Ports, upload_id: str, caller: Caller | None, override: ResponseOverride | None) -> None:
    """End an upload that is not complete, then delete its bytes; do nothing to another one.

    The record is changed before the lock is requested: a request that is receiving bytes, here or in another process,
    finds ``override`` in it, and answers its client with that (``stopped``). Raises ``LockTimeout`` or
    ``RecordsError``; repeat it later.
    """
    ended = await _mark_stopped(ports, upload_id, caller, override)
    if ended is None:
        return
    async with locked(ports, upload_id):
        await ports.store.delete(ended)


async def stopped(ports: Ports, upload_id: str) -> UploadStopped | None:
    """The refusal for a request whose upload ``stop`` has ended meanwhile; ``None`` if it has not."""
    upload = await ports.records.find(upload_id)
    if upload is None or not _is_stopped(upload):
        return None
    return UploadStopped().with_response(_parse(upload.history[-1].details.get(_RESPONSE, "")))


def _is_stopped(upload: Upload) -> bool:
    return upload.status is Status.TERMINATED and upload.history[-1].reason == _REASON


async def _mark_stopped(
    ports: Ports, upload_id: str, caller: Caller | None, override: ResponseOverride | None
) -> Upload | None:
    """Record the end; ``None`` if the upload has ended otherwise, or is complete."""
    for _ in range(_ATTEMPTS_MAX):
        upload = await ports.records.find(upload_id)
        if upload is None or upload.is_complete or upload.has_ended:
            return upload if upload is not None and _is_stopped(upload) else None
        now = ports.clock()
        ended = upload.with_status(Status.TERMINATED, now, _REASON, {_RESPONSE: _format(override)})
        try:
            ended = await update(ports, upload, ended.expiring(ports.policy.expiry(ended, now)), Cause(caller))
        except RecordConflict:
            continue  # the running request has saved its progress
        invoke_later(ports, Hook.POST_TERMINATE, ended, caller)
        return ended
    raise RecordConflict(upload_id)


def _format(override: ResponseOverride | None) -> str:
    if override is None:
        return ""
    return json.dumps([override.status, dict(override.headers), override.body])


def _parse(text: str) -> ResponseOverride | None:
    if not text:
        return None
    status, headers, body = json.loads(text)
    return ResponseOverride(status=status, headers=headers, body=body)
