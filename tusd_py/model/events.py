"""What has happened to an upload, as values: derived from how its record changed, never told by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tusd_py.model.caller import Caller
from tusd_py.model.upload import Kind, Status, Upload

#: The step that examines a complete upload (``Upload.pending_steps``).
VALIDATION = "validation"


class EventType(StrEnum):
    """tusd's four ``post-`` hooks, and our own: what becomes of an upload after its last byte."""

    POST_CREATE = "post-create"
    POST_RECEIVE = "post-receive"  # bytes were saved; while a body runs now and then, at its end always
    POST_FINISH = "post-finish"  # every byte is there, and pre-finish has agreed
    POST_TERMINATE = "post-terminate"
    UPLOAD_ASSEMBLED = "upload.assembled"  # the parts of a final upload were joined
    UPLOAD_VALIDATED = "upload.validated"
    UPLOAD_REJECTED = "upload.rejected"
    UPLOAD_READY = "upload.ready"  # nothing more has to be done
    UPLOAD_FAILED = "upload.failed"
    UPLOAD_EXPIRED = "upload.expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. ``id`` stays the same however often it is told: receivers know a repetition by it.

    ``upload`` is as its record was saved with the event; ``caller`` is ``None`` when no request brought it about.
    """

    id: str
    type: EventType
    at: datetime
    upload: Upload
    caller: Caller | None = None


_OF_STATUS = {
    Status.READY: EventType.UPLOAD_READY,
    Status.REJECTED: EventType.UPLOAD_REJECTED,
    Status.FAILED: EventType.UPLOAD_FAILED,
    Status.EXPIRED: EventType.UPLOAD_EXPIRED,
    Status.TERMINATED: EventType.POST_TERMINATE,
}


def derive_events(before: Upload | None, after: Upload) -> tuple[EventType, ...]:
    """What the change of a record from ``before`` to ``after`` means, in the order it is told.

    ``before`` is ``None`` for a record that is made. Each type but post-receive comes at most once in a life.
    """
    types: list[EventType] = []
    if before is None:
        types.append(EventType.POST_CREATE)
    if after.kind is not Kind.FINAL and after.offset > (0 if before is None else before.offset):
        types.append(EventType.POST_RECEIVE)
    if after.kind is Kind.FINAL and after.is_complete and not (before is not None and before.is_complete):
        types.append(EventType.UPLOAD_ASSEMBLED)
    if after.is_handed_to_workers and not (before is not None and before.is_handed_to_workers):
        types.append(EventType.POST_FINISH)
    if before is not None and _validated(before, after):
        types.append(EventType.UPLOAD_VALIDATED)
    if (before is None or after.status is not before.status) and after.status in _OF_STATUS:
        types.append(_OF_STATUS[after.status])
    return tuple(types)


def _validated(before: Upload, after: Upload) -> bool:
    passed = after.status in (Status.PROCESSING, Status.READY)
    return VALIDATION in before.pending_steps and VALIDATION not in after.pending_steps and passed
