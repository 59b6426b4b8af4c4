"""Derives events from changes of records, so that no use case can forget to emit one."""

from __future__ import annotations

from tusd_py.model.events import EventType
from tusd_py.model.steps import STEPS
from tusd_py.model.upload import Kind, Status, Upload

_BY_STATUS = {
    Status.READY: EventType.UPLOAD_READY,
    Status.REJECTED: EventType.UPLOAD_REJECTED,
    Status.FAILED: EventType.UPLOAD_FAILED,
    Status.EXPIRED: EventType.UPLOAD_EXPIRED,
    Status.TERMINATED: EventType.POST_TERMINATE,
}
_COMPLETING_STEPS = tuple(step for step in STEPS if step.completes_upload)
_FOLLOWING_STEPS = tuple(step for step in STEPS if not step.completes_upload)


def derive_events(before: Upload | None, after: Upload) -> tuple[EventType, ...]:
    """The types of the events that the change of a record from ``before`` to ``after`` causes, in order.

    ``before`` is ``None`` for a new record. Each type except post-receive occurs at most once in the life of an upload.
    """
    types: list[EventType] = []
    if before is None:
        types.append(EventType.POST_CREATE)
    if after.kind is not Kind.FINAL and after.offset > (0 if before is None else before.offset):
        types.append(EventType.POST_RECEIVE)
    types += (step.event for step in _COMPLETING_STEPS if step.event and step.is_passed(before, after))
    if after.is_handed_to_workers and not (before is not None and before.is_handed_to_workers):
        types.append(EventType.POST_FINISH)
    types += (step.event for step in _FOLLOWING_STEPS if step.event and step.is_passed(before, after))
    if (before is None or after.status is not before.status) and after.status in _BY_STATUS:
        types.append(_BY_STATUS[after.status])
    return tuple(types)
