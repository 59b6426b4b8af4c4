"""What the world around the protocol did wrong, as refusals that a client can understand: the one table for it.

Every exception of the contracts stands here; a test walks them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tusd_py.contracts.body import BodyError
from tusd_py.contracts.hooks import HookFailed
from tusd_py.contracts.locker import LockTimeout
from tusd_py.contracts.publisher import PublishFailed
from tusd_py.contracts.records import RecordConflict, RecordExists, RecordsError, RecordsFull, RecordsUnavailable
from tusd_py.contracts.store import BytesMissing, PathTaken, StoreError, StoreFull, StoreUnavailable
from tusd_py.contracts.validator import ValidatorUnavailable
from tusd_py.protocol.errors import TusError


class Locked(TusError):
    """Somebody else works on the upload and did not let go in time."""

    status = 423
    code = "ERR_LOCK_TIMEOUT"
    retry_after_seconds = 1
    sentence = "another request for this upload has not ended yet; try again shortly"


class UploadChanged(TusError):
    """Somebody else changed the upload while this request ran; nothing of it counts that was not saved before."""

    status = 423
    code = "ERR_UPLOAD_CHANGED"
    retry_after_seconds = 1
    sentence = "another request changed this upload meanwhile; ask for its offset and go on from there"


class StorageFull(TusError):
    status = 507
    code = "ERR_STORAGE_FULL"
    sentence = "there is no room left for these bytes; what was stored is kept, go on once there is room"


class Unavailable(TusError):
    """The disk or the database failed. For HEAD it is told as ``NotReady``."""

    status = 503
    code = "ERR_UNAVAILABLE"
    retry_after_seconds = 5
    sentence = "the server cannot read or store uploads at the moment; try again later"


class NotReady(TusError):
    """A refusal of HEAD that will pass: after any other status clients forget the upload and start from nothing."""

    status = 423
    code = "ERR_NOT_READY"
    retry_after_seconds = 1
    sentence = "the upload cannot be looked at right now; try again shortly"


class BytesGone(TusError):
    status = 500
    code = "ERR_BYTES_MISSING"
    sentence = "the stored bytes of this upload are missing on the server"


class AlreadyExists(TusError):
    status = 409
    code = "ERR_UPLOAD_EXISTS"
    sentence = "an upload with the id or the path chosen for this one exists already"


class HookUnavailable(TusError):
    """What the hook said stays in the log: it may name what no client should know."""

    status = 500
    code = "ERR_HOOK_FAILED"
    sentence = "a hook of the server failed; what was stored is kept, try again later"


class InternalError(TusError):
    status = 500
    code = "ERR_INTERNAL_SERVER_ERROR"
    sentence = "the server made a mistake; its log has the details"


#: From what went wrong to what is told. The most derived class that fits counts.
TABLE: Mapping[type[Exception], type[TusError]] = MappingProxyType(
    {
        LockTimeout: Locked,
        RecordConflict: UploadChanged,
        RecordExists: AlreadyExists,
        RecordsFull: StorageFull,
        RecordsUnavailable: Unavailable,
        RecordsError: Unavailable,
        PathTaken: AlreadyExists,
        StoreFull: StorageFull,
        StoreUnavailable: Unavailable,
        BytesMissing: BytesGone,
        StoreError: Unavailable,
        HookFailed: HookUnavailable,
        PublishFailed: Unavailable,
        ValidatorUnavailable: Unavailable,
        BodyError: Unavailable,
        OSError: Unavailable,  # what is needed could not be opened
    }
)


def to_refusal(failure: Exception, method: str) -> TusError:
    """The refusal to answer a request with this ``method`` with; ``InternalError`` for what nobody foresaw."""
    if isinstance(failure, TusError):
        return failure
    told = next((TABLE[kind] for kind in type(failure).__mro__ if kind in TABLE), InternalError)
    if method == "HEAD" and told in (Unavailable, StorageFull, HookUnavailable):
        return NotReady()
    return told()
