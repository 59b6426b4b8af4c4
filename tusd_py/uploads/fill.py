"""POST to an upload link: say how long the upload will be and what it is, and perhaps bring its first bytes."""

from __future__ import annotations

from tusd_py.contracts.body import RequestBody
from tusd_py.contracts.hooks import HookEvent
from tusd_py.contracts.progress import ProgressListener
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.links import LINK_GRANT
from tusd_py.model.upload import Upload
from tusd_py.protocol import rules
from tusd_py.protocol.access_errors import LinkFilled
from tusd_py.protocol.errors import MethodNotAllowed, UploadRejected
from tusd_py.protocol.outcomes import Created
from tusd_py.protocol.requests import Append, BodyInfo, Create, Fill
from tusd_py.uploads.append import append
from tusd_py.uploads.commit import Cause, update
from tusd_py.uploads.grant_check import ensure_grant
from tusd_py.uploads.locking import load, locked
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.type_limits import ensure_type_allowed

_METHODS = ("HEAD", "PATCH", "OPTIONS")


async def fill(
    ports: Ports, request: Fill, caller: Caller, body: RequestBody, listener: ProgressListener | None = None
) -> Created:
    """Declare the length and the metadata of the upload of a link, as if its bearer created it; then store the body.

    A repetition with the same length changes nothing. Raises ``LinkFilled`` if the upload has begun otherwise, also
    ``TusError``, ``LockTimeout``, ``StoreError``, ``RecordConflict`` or ``HookFailed``.
    """
    creation = request.creation
    async with locked(ports, request.upload_id, caller):
        await ensure_grant(ports, caller)
        upload = await load(ports, request.upload_id)
        if not upload.grant.startswith(LINK_GRANT):
            raise MethodNotAllowed(_METHODS)
        upload = await _declare(ports, upload, creation, caller)
    info = creation.body
    if upload.length == 0 and not upload.is_complete:
        info = BodyInfo(length=0)
    if info is None or upload.is_complete or upload.offset:
        return Created(upload=upload, took_body=False)
    appending = Append(upload_id=upload.id, offset=0, length=None, body=info)
    appended = await append(ports, appending, caller, body, listener)
    return Created(upload=appended.upload, took_body=creation.body is not None, override=appended.override)


async def _declare(ports: Ports, upload: Upload, creation: Create, caller: Caller) -> Upload:
    limits = ports.policy.limits_for(caller.principal)
    rules.create(creation, limits)
    if upload.is_complete or (upload.length is not None and creation.length not in (None, upload.length)):
        raise LinkFilled
    after = upload
    if not upload.offset and creation.metadata_header is not None and upload.metadata_header is None:
        after = after.describe(creation.metadata_header)
    if creation.length is not None and upload.length is None:
        rules.ensure_declarable(creation.length, upload, limits)
        after = after.declare_length(creation.length)
    if after is upload:
        return upload
    ensure_type_allowed(caller.principal, after.metadata_header)
    return await update(ports, upload, await _run_pre_hook(ports, after, caller), Cause(caller))


async def _run_pre_hook(ports: Ports, upload: Upload, caller: Caller) -> Upload:
    """Ask pre-create once more, because the upload now has metadata and a length. Of its changes metadata counts."""
    if not ports.hooks.handles(Hook.PRE_CREATE):
        return upload
    response = await ports.hooks.invoke(HookEvent(Hook.PRE_CREATE, upload, caller))
    if response.reject:
        raise UploadRejected().with_response(response.override)
    return upload if response.metadata is None else upload.describe(response.applied_to(upload).metadata_header)
