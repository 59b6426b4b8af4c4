"""Whether a request may act on an upload now: one pure function per method, which returns or raises ``TusError``.

The order of the checks is part of the protocol; where the specification fixes it, it is quoted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tusd_py.model.frozen import frozen
from tusd_py.model.steps import STEPS
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.concat_errors import (
    FinalUploadModified,
    InvalidParts,
    PartInUse,
    PartUsedTooOften,
    UploadNotAssembled,
)
from tusd_py.protocol.errors import (
    AppendTooLarge,
    AppendTooSmall,
    ContentGone,
    InvalidLength,
    LengthAlreadyKnown,
    LengthExceeded,
    MaxSizeExceeded,
    OffsetMismatch,
    RejectedByRules,
    TusError,
    TypeNotAllowed,
    UploadGone,
    UploadNotFound,
    UploadNotValidated,
    UploadUnfinished,
)
from tusd_py.protocol.headers import NUMBER_MAX
from tusd_py.protocol.requests import Append, BodyInfo, Create

_BLOCKING_STEPS = frozenset(step.name for step in STEPS if step.blocks_downloads)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits and features that the operator sets. A maximum of 0 means no limit."""

    length_max: int = 0  # bytes of one upload (Tus-Max-Size)
    append_bytes_max: int = 0  # the content of one request of the draft
    append_bytes_min: int = 0  # the content of one request of the draft that does not complete the upload
    metadata_bytes_max: int = 8192  # the Upload-Metadata header
    parts_max: int = 1000  # partial uploads in one final upload
    part_uses_max: int = 16  # how often one partial upload is used by all final uploads together
    concat_bytes_max: int = 131072  # the Upload-Concat header
    creation_with_upload: bool = True
    termination: bool = True
    concatenation: bool = True
    downloads: bool = True
    partial_downloads: bool = False  # GET of the stored bytes of an unfinished upload
    requires_validation: bool = False  # uploads can be downloaded only after validation accepted them
    gone_status: int = 410  # or 404, for clients that start over only after 404


@frozen()
class Remaining:
    """How many more bytes an upload accepts (``None``: no limit), and the error for a body that has more."""

    bytes: int | None
    refusal: TusError


def remaining(upload: Upload, length: int | None, limits: Limits, body: BodyInfo) -> Remaining:
    """The bytes that ``upload`` still accepts in ``body``; while its length is deferred, up to the maximum."""
    left = _remaining(upload, length, limits)
    bytes_max = None if body.bounds is None else body.bounds[1]
    if bytes_max is not None and (left.bytes is None or bytes_max < left.bytes):
        return Remaining(bytes_max, AppendTooLarge(bytes_max))
    return left


def _ensure_within_bounds(body: BodyInfo) -> None:
    """Raise ``AppendTooLarge`` or ``AppendTooSmall`` for a body of known length outside of its bounds."""
    if body.bounds is None or body.length is None:
        return
    bytes_min, bytes_max = body.bounds
    if bytes_max is not None and body.length > bytes_max:
        raise AppendTooLarge(bytes_max)
    if body.length < bytes_min:
        raise AppendTooSmall(bytes_min)


def _remaining(upload: Upload, length: int | None, limits: Limits) -> Remaining:
    if length is not None:
        return Remaining(length - upload.offset, LengthExceeded(length))
    if length_max := length_max_of(upload, limits):
        return Remaining(length_max - upload.offset, MaxSizeExceeded(length_max))
    return Remaining(None, MaxSizeExceeded(0))


def length_max_of(upload: Upload, limits: Limits) -> int:
    """How long ``upload`` may become while its length is deferred; 0 is no limit."""
    if upload.length_max is None:
        return limits.length_max
    return min(upload.length_max, limits.length_max) if limits.length_max else upload.length_max


def ensure_available(upload: Upload | None, now: datetime) -> Upload:
    """Return ``upload`` if a request may use it at ``now``.

    Raises ``UploadNotFound`` for None and a terminated upload, ``UploadGone`` for one that expired or failed, and
    ``RejectedByRules`` for one that validation rejected. An unfinished one that was rejected by its first bytes
    remains: a client that missed the reason learns it from its next PATCH. A regular unfinished upload is gone from
    ``expires_at`` on, even before the sweeper deletes it.
    Expiration: "the Server SHOULD respond with 404 Not Found or 410 Gone"; which of them is a setting.
    """
    if upload is None or upload.status is Status.TERMINATED:
        raise UploadNotFound
    if upload.status in (Status.EXPIRED, Status.FAILED):
        raise UploadGone
    if upload.expires_at is not None and upload.expires_at <= now and not _expires_by_sweep_only(upload):
        raise UploadGone
    if upload.status is Status.REJECTED and upload.is_complete:
        raise RejectedByRules
    return upload


def _expires_by_sweep_only(upload: Upload) -> bool:
    """Whether only the sweeper may expire the upload, because it checks first whether other uploads still need it."""
    return upload.kind is not Kind.REGULAR or upload.is_complete


def ensure_allowed_length(length: int | None, limits: Limits) -> None:
    """Raise ``MaxSizeExceeded`` for a length above the limit, or above what databases and file systems can store.

    Each number of a request is at most ``NUMBER_MAX``, but the sum of two of them may exceed it.
    """
    length_max = limits.length_max or NUMBER_MAX
    if length is not None and length > length_max:
        raise MaxSizeExceeded(length_max)


def create(request: Create, limits: Limits) -> None:
    """Check a creation. Raises ``MaxSizeExceeded``, ``LengthExceeded``, ``AppendTooLarge`` or ``AppendTooSmall``.

    Creation: "If the length of the upload exceeds the maximum, the Server MUST respond with 413".
    """
    ensure_allowed_length(request.length, limits)
    if request.body is None or request.body.length is None:
        return
    _ensure_within_bounds(request.body)
    # Refused before anything is created: other servers leave behind an upload whose URL the client never learns.
    if request.length is not None and request.body.length > request.length:
        raise LengthExceeded(request.length)
    if request.length is None:
        ensure_allowed_length(request.body.length, limits)


def append(request: Append, upload: Upload, limits: Limits) -> Remaining:
    """The bytes that the upload still accepts, if this body may be appended; raises ``TusError`` otherwise."""
    # Concatenation: "The Server MUST respond with 403 Forbidden to any PATCH request against a final upload".
    if upload.kind is Kind.FINAL:
        raise FinalUploadModified
    if upload.status is Status.REJECTED:
        raise TypeNotAllowed(upload.history[-1].reason)
    if request.unsupported is not None:
        raise request.unsupported
    # Core, PATCH: "If the offsets do not match, the Server MUST respond with 409 Conflict without modifying
    # the upload resource": so this check comes before all checks of the length.
    if request.offset != upload.offset:
        raise OffsetMismatch(upload.offset, request.offset)
    length = _length(request, upload, limits)
    _ensure_within_bounds(request.body)
    left = remaining(upload, length, limits, request.body)
    if left.bytes is not None and request.body.length is not None and request.body.length > left.bytes:
        raise left.refusal
    return left


def _length(request: Append, upload: Upload, limits: Limits) -> int | None:
    """The length after this request. Repeating the known length is allowed: clients do so after a lost response."""
    if request.length is None:
        return upload.length
    if upload.length is not None:
        if request.length != upload.length:
            raise LengthAlreadyKnown(upload.length, upload.offset)
        return upload.length
    ensure_declarable(request.length, upload, limits)
    if request.length < upload.offset:
        raise LengthAlreadyKnown(None, upload.offset)
    return request.length


def ensure_declarable(length: int, upload: Upload, limits: Limits) -> None:
    """Raise ``MaxSizeExceeded`` if ``upload`` may not become so long."""
    ensure_allowed_length(length, limits)
    if upload.length_max is not None and length > upload.length_max:
        raise MaxSizeExceeded(upload.length_max)


def concatenate(request: Create, parts: Sequence[Upload | None], now: datetime, limits: Limits) -> int | None:
    """The length of the final upload that consists of ``parts``; None while the length of a part is unknown.

    Raises ``InvalidParts`` for every fault of a part, so that the response does not reveal which uploads exist;
    ``InvalidLength`` or ``MaxSizeExceeded``.
    """
    total: int | None = 0
    for part in parts:
        if part is None or part.kind is not Kind.PARTIAL:
            raise InvalidParts
        if part.has_ended or part.status in (Status.FAILED, Status.REJECTED, Status.MOVED):
            raise InvalidParts
        if part.expires_at is not None and part.expires_at <= now and not part.is_complete:
            raise InvalidParts
        total = None if total is None or part.length is None else total + part.length
    # "The Client MUST NOT include the Upload-Length header in the final upload creation": tolerated if it is correct.
    if request.length is not None and request.length != total:
        raise InvalidLength("Upload-Length", "no such header for a final upload, or the sum of its parts")
    ensure_allowed_length(total, limits)
    return total


def ensure_uses_allowed(parts: Sequence[str], uses: Mapping[str, int], limits: Limits) -> None:
    """Raise ``PartUsedTooOften`` if a part would be used more often than ``part_uses_max`` by all final uploads.

    ``parts`` are the parts of the new final upload; ``uses`` says how often others use them. The specification lets a
    part be named several times; without a limit, few bytes sent become many bytes stored.
    """
    if not limits.part_uses_max:
        return
    for part_id, count in Counter(parts).items():
        if count + uses.get(part_id, 0) > limits.part_uses_max:
            raise PartUsedTooOften(limits.part_uses_max)


def ensure_same_owner(parts: Sequence[Upload], final: Upload) -> None:
    """Raise ``InvalidParts`` unless every part has the owner of the final upload, and was made with the same grant."""
    if any(not is_part_of_same(part, final) for part in parts):
        raise InvalidParts


def is_part_of_same(part: Upload, final: Upload) -> bool:
    """Whether ``part`` belongs to the owner of ``final`` and was made with the same access code, if with any."""
    return part.owner == final.owner and part.grant == final.grant


def terminate(upload: Upload | None, now: datetime, finals: Sequence[Upload]) -> Upload:
    """Return the upload if it may be terminated; failed and rejected uploads may be.

    Raises what ``ensure_available`` raises, and ``PartInUse`` while one of the unfinished ``finals`` needs it.
    """
    if upload is not None and upload.status in (Status.FAILED, Status.REJECTED):
        return upload
    upload = ensure_available(upload, now)
    if finals:
        raise PartInUse
    return upload


def ensure_not_assembling(parts: Sequence[Upload | None]) -> None:
    """Raise ``UploadNotAssembled`` if the parts of an incomplete final upload are complete: only the server is late."""
    if all(part is not None and part.is_complete for part in parts):
        raise UploadNotAssembled


def download(upload: Upload, limits: Limits) -> None:
    """Check a download: only complete uploads, unless ``partial_downloads`` is set.

    Raises ``RejectedByRules``, ``UploadUnfinished``, ``UploadNotValidated``, or ``ContentGone`` for an upload whose
    bytes a hook has moved.
    """
    if upload.status is Status.REJECTED:
        raise RejectedByRules
    if upload.status is Status.MOVED:
        raise ContentGone
    if not upload.is_complete and (not limits.partial_downloads or upload.kind is Kind.FINAL):
        raise UploadUnfinished
    if limits.requires_validation:
        if upload.kind is Kind.PARTIAL or not upload.is_complete:
            # Parts are not validated by themselves; a download of one would circumvent the rules.
            raise UploadUnfinished
        if upload.status is not Status.READY and (
            not upload.pending_steps or not _BLOCKING_STEPS.isdisjoint(upload.pending_steps)
        ):
            raise UploadNotValidated
