"""The refusals for failures outside the protocol, and the one table that maps exceptions of the contracts to them.

A test checks that every exception of the contracts has an entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tusd_py.access.errors import KeysUnavailable
from tusd_py.contracts.body import BodyError
from tusd_py.contracts.hooks import HookFailed
from tusd_py.contracts.key_set import FetchFailed
from tusd_py.contracts.locker import LocksUnavailable, LockTimeout
from tusd_py.contracts.publisher import PublishFailed
from tusd_py.contracts.records import (
    PartOverused,
    QuotaExhausted,
    RecordConflict,
    RecordExists,
    RecordsError,
    RecordsFull,
    RecordsUnavailable,
)
from tusd_py.contracts.store import BytesMissing, PathTaken, StoreError, StoreFull, StoreUnavailable
from tusd_py.contracts.validator import ValidatorUnavailable
from tusd_py.protocol.errors import TusError


class Locked(TusError):
    """Another request holds the lock of the upload and did not release it in time."""

    status = 423
    code = "ERR_LOCK_TIMEOUT"
    retry_after_seconds = 1
    sentence = "another request for this upload is still running; try again shortly"


class UploadChanged(TusError):
    """Another request changed the upload while this one ran. What this request had not saved by then is discarded."""

    status = 423
    code = "ERR_UPLOAD_CHANGED"
    retry_after_seconds = 1
    sentence = "another request has changed this upload; send HEAD for its offset and continue from there"


class StorageFull(TusError):
    status = 507
    code = "ERR_STORAGE_FULL"
    sentence = "the storage is full; the bytes stored so far are kept, continue once there is free space"


class Unavailable(TusError):
    """The disk or the database failed. HEAD is answered with ``NotReady`` instead."""

    status = 503
    code = "ERR_UNAVAILABLE"
    retry_after_seconds = 5
    sentence = "the server cannot read or store uploads at the moment; try again later"


class NotReady(TusError):
    """A refusal of HEAD for a failure that may pass. After other statuses clients restart from offset 0."""

    status = 423
    code = "ERR_NOT_READY"
    retry_after_seconds = 1
    sentence = "the state of the upload cannot be read at the moment; try again shortly"


class BytesGone(TusError):
    status = 500
    code = "ERR_BYTES_MISSING"
    sentence = "the stored bytes of this upload are missing on the server"


class AlreadyExists(TusError):
    status = 409
    code = "ERR_UPLOAD_EXISTS"
    sentence = "an upload with the id or the path chosen for this one already exists"


class CrossOriginRequest(TusError):
    """A web page of another origin made a browser send a request to the API or a page."""

    status = 403
    code = "ERR_CROSS_ORIGIN"
    sentence = "a web page of another origin sent this request; name its origin in cors.allow_origins to permit that"


class CsrfTokenMissing(TusError):
    """A request with the cookies of a session has no header that only its own page can send."""

    status = 403
    code = "ERR_CSRF_TOKEN"
    sentence = "a request with the cookies of a session needs the header X-CSRF-Token, with the token of the session"


class HookUnavailable(TusError):
    """A blocking hook failed or gave no valid answer. Details are only logged: they may be confidential."""

    status = 500
    code = "ERR_HOOK_FAILED"
    sentence = "a hook of the server failed; the bytes stored so far are kept, try again later"


class InternalError(TusError):
    status = 500
    code = "ERR_INTERNAL_SERVER_ERROR"
    sentence = "internal server error; the details are in the log of the server"


#: Maps exceptions to refusals. The entry of the most derived class applies.
TABLE: Mapping[type[Exception], type[TusError]] = MappingProxyType(
    {
        LockTimeout: Locked,
        LocksUnavailable: Unavailable,
        PartOverused: Unavailable,  # the use case raises PartUsedTooOften instead
        QuotaExhausted: Unavailable,  # the use cases raise QuotaReached instead
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
        FetchFailed: Unavailable,  # the cache of keys keeps the known ones, or raises KeysUnavailable
        KeysUnavailable: Unavailable,
        OSError: Unavailable,  # opening the ports failed
    }
)


def to_refusal(failure: Exception, method: str) -> TusError:
    """Return the refusal for a failed request with this ``method``; ``InternalError`` for an unexpected exception."""
    if isinstance(failure, TusError):
        return failure
    refusal = next((TABLE[cls] for cls in type(failure).__mro__ if cls in TABLE), InternalError)
    if method == "HEAD" and refusal in (Unavailable, StorageFull, HookUnavailable):
        return NotReady()
    return refusal()
