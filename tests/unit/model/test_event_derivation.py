"""Events derived from changes of records."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tusd_py.model.event_derivation import derive_events
from tusd_py.model.events import EventType
from tusd_py.model.upload import Kind, Status, Upload

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NEW = Upload(id="a", length=10, created_at=NOW, updated_at=NOW)
FINAL = replace(NEW, kind=Kind.FINAL)
COMPLETE = NEW.advance(10, NOW).complete(NOW)
HANDED_OVER = COMPLETE.hand_to_workers(("validation", "publishing"), NOW)
VALIDATED = HANDED_OVER.complete_step("validation", NOW)
READY = VALIDATED.complete_step("publishing", NOW)
JOINED = FINAL.advance(10, NOW).complete(NOW)


@pytest.mark.parametrize(
    ("before", "after", "types"),
    [
        (None, NEW, ["post-create"]),
        (None, NEW.advance(4, NOW), ["post-create", "post-receive"]),
        (None, COMPLETE, ["post-create", "post-receive"]),
        (None, COMPLETE.hand_to_workers((), NOW), ["post-create", "post-receive", "post-finish", "upload.ready"]),
        (NEW, NEW.declare_length(10), []),
        (NEW, NEW.advance(4, NOW), ["post-receive"]),
        (NEW.advance(4, NOW), NEW.advance(4, NOW).truncate_to(2, NOW), []),
        (NEW, COMPLETE, ["post-receive"]),
        (COMPLETE, COMPLETE.hand_to_workers((), NOW), ["post-finish", "upload.ready"]),
        (COMPLETE, HANDED_OVER, ["post-finish"]),
        (NEW, HANDED_OVER, ["post-receive", "post-finish"]),
        (HANDED_OVER, HANDED_OVER.expiring(NOW), []),
        (HANDED_OVER, VALIDATED, ["upload.validated"]),
        (VALIDATED, READY, ["upload.ready"]),
        (COMPLETE.hand_to_workers(("validation",), NOW), READY, ["upload.validated", "upload.ready"]),
        (HANDED_OVER, HANDED_OVER.fail_step("validation", Status.REJECTED, NOW, "why"), ["upload.rejected"]),
        (HANDED_OVER, HANDED_OVER.fail_step("validation", Status.FAILED, NOW, "why"), ["upload.failed"]),
        (VALIDATED, VALIDATED.fail_step("publishing", Status.FAILED, NOW, "why"), ["upload.failed"]),
        (HANDED_OVER, HANDED_OVER.with_status(Status.TERMINATED, NOW), ["post-terminate"]),
        (NEW, NEW.with_status(Status.EXPIRED, NOW), ["upload.expired"]),
        (NEW, NEW.with_status(Status.FAILED, NOW), ["upload.failed"]),
        (None, FINAL, ["post-create"]),
        (FINAL, FINAL.with_status(Status.PROCESSING, NOW), []),
        (FINAL, JOINED, ["upload.assembled"]),
        (None, JOINED.hand_to_workers((), NOW), ["post-create", "upload.assembled", "post-finish", "upload.ready"]),
        (
            FINAL.with_status(Status.PROCESSING, NOW),
            JOINED.hand_to_workers(("x",), NOW),
            ["upload.assembled", "post-finish"],
        ),
        (FINAL, FINAL.with_status(Status.FAILED, NOW), ["upload.failed"]),
    ],
)
def test_derive_events_of_change(before: Upload | None, after: Upload, types: list[str]) -> None:
    """Each change of a record has exactly these events, in the order in which they happened."""
    assert [*derive_events(before, after)] == [EventType(name) for name in types]
