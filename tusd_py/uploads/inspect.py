"""HEAD: how an upload stands, told so that the next PATCH at that offset is accepted."""

from __future__ import annotations

from dataclasses import replace

from tusd_py.protocol.outcomes import Inspected
from tusd_py.protocol.requests import Caller, Inspect
from tusd_py.protocol.upload import Kind, Upload
from tusd_py.uploads.assemble import consider
from tusd_py.uploads.finish import finish
from tusd_py.uploads.holding import find, held
from tusd_py.uploads.ports import Ports


async def inspect(ports: Ports, request: Inspect, caller: Caller) -> Inspected:
    """The upload with its true offset. A PATCH that is running is stopped first: its bytes would make this a lie.

    Where pre-finish failed before, it is asked again. Raises ``TusError``, ``LockTimeout`` or ``GateFailed``.
    """
    async with held(ports, request.upload_id):
        upload = await find(ports, request.upload_id)
        if upload.is_complete:
            return Inspected(upload=(await finish(ports, upload, caller)).upload)
    if upload.kind is Kind.FINAL:
        consider(ports, upload)
        upload = await _with_length(ports, upload)
    return Inspected(upload=upload)


async def _with_length(ports: Ports, upload: Upload) -> Upload:
    """A final upload that waits for its parts, with its length as soon as all of them have one."""
    if upload.length is not None:
        return upload
    parts = await ports.records.find_all(upload.parts)
    lengths = [part.length for part in parts if part is not None and part.length is not None]
    return replace(upload, length=sum(lengths)) if len(lengths) == len(upload.parts) else upload
