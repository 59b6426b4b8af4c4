"""HEAD: report the state of an upload, such that a PATCH at the reported offset is accepted."""

from __future__ import annotations

from dataclasses import replace

from tusd_py.model.caller import Caller
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol import rules
from tusd_py.protocol.outcomes import Inspected
from tusd_py.protocol.requests import Inspect
from tusd_py.uploads.body.committer import Committer
from tusd_py.uploads.body.receiver import BodyReceiver
from tusd_py.uploads.locking import load, locked
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.assemble import part_completed, schedule_assembly
from tusd_py.uploads.processing.finish import finish
from tusd_py.uploads.quota_room import drop_unrecorded, may_have_unrecorded


async def inspect(ports: Ports, request: Inspect, caller: Caller) -> Inspected:
    """The upload with its true offset. A running PATCH is stopped first, since its bytes would change the offset.

    If pre-finish failed before, it is invoked again. Raises ``TusError``, ``LockTimeout``, ``StoreError``,
    ``RecordConflict`` or ``HookFailed``.
    """
    if not caller.may_write:
        return Inspected(upload=await _as_recorded(ports, request.upload_id))
    async with locked(ports, request.upload_id, caller):
        upload = await load(ports, request.upload_id)
        if may_have_unrecorded(ports, upload):
            await drop_unrecorded(ports, upload)
        if request.length_completes and _is_open_at_length(upload):
            upload = await _complete(ports, upload, caller)
        if upload.is_complete:
            return Inspected(upload=(await finish(ports, upload, caller)).upload)
    if upload.kind is Kind.FINAL:
        schedule_assembly(ports, upload)
        upload = await _with_length(ports, upload)
    return Inspected(upload=upload)


async def _as_recorded(ports: Ports, upload_id: str) -> Upload:
    """The upload as it was last saved, for a client that may only read; a running PATCH goes on."""
    upload = rules.ensure_available(await ports.records.find(upload_id), ports.clock())
    return await _with_length(ports, upload) if upload.kind is Kind.FINAL else upload


def _is_open_at_length(upload: Upload) -> bool:
    return upload.offset == upload.length and upload.kind is not Kind.FINAL and upload.status is Status.UPLOADING


async def _complete(ports: Ports, upload: Upload, caller: Caller) -> Upload:
    """Complete the upload: a tus 1.0 client that reads this offset has finished and would never complete it."""
    receiver = BodyReceiver(ports, upload, Committer(ports, caller))
    try:
        upload = await receiver.end_at_length()
    finally:
        await receiver.close()
    ports.count_complete(upload)
    part_completed(ports, upload)
    return upload


async def _with_length(ports: Ports, upload: Upload) -> Upload:
    """A final upload that waits for its parts, with its length as soon as every part has one."""
    if upload.length is not None:
        return upload
    parts = await ports.records.find_all(upload.parts)
    lengths = [part.length for part in parts if part is not None and part.length is not None]
    return replace(upload, length=sum(lengths)) if len(lengths) == len(upload.parts) else upload
