"""Events of an upload. They are derived from the change of its record, so no code path can forget one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tusd_py.model.caller import Caller
from tusd_py.model.upload import Kind, Status, Upload

#: The processing step that validates a complete upload (in ``Upload.pending_steps``).
VALIDATION = "validation"


class EventType(StrEnum):
    """The types of events: tusd's four ``post-`` hooks, and our own for the processing after the last byte."""

    POST_CREATE = "post-create"
    POST_RECEIVE = "post-receive"  # bytes were saved: periodically while a body arrives, and at its end
    POST_FINISH = "post-finish"  # all bytes are stored, and pre-finish accepted the upload
    POST_TERMINATE = "post-terminate"
    UPLOAD_ASSEMBLED = "upload.assembled"  # the parts of a final upload were concatenated
    UPLOAD_VALIDATED = "upload.validated"
    UPLOAD_REJECTED = "upload.rejected"
    UPLOAD_READY = "upload.ready"  # all processing steps are done
    UPLOAD_FAILED = "upload.failed"
    UPLOAD_EXPIRED = "upload.expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. Every delivery has the same ``id``, so that receivers recognise repetitions.

    ``upload`` is the record as saved together with the event. ``caller`` is ``None`` if no request caused the event.
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
    """The events of a change of a record from ``before`` to ``after``, in order.

    ``before`` is ``None`` for a new record. Except for post-receive, an upload has each type at most once.
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
