"""The ``Upload`` value and its transitions."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta

import pytest

from tusd_py.model.upload import TRANSITIONS, HistoryEntry, Status, Upload

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)
UPLOAD = Upload(id="a", length=10, offset=4, created_at=NOW, updated_at=NOW)
DEFERRED = replace(UPLOAD, length=None)
COMPLETE = replace(UPLOAD, offset=10, completed_at=NOW, status=Status.READY)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Status, Status)))
def test_every_transition(before: Status, after: Status) -> None:
    """The table alone decides, and the history has the time and reason of each transition."""
    upload = replace(UPLOAD, status=before, history=(HistoryEntry(before, NOW),))
    if after in TRANSITIONS[before]:
        changed = upload.with_status(after, LATER, "why")
        assert (changed.status, changed.updated_at) == (after, LATER)
        assert changed.history == (HistoryEntry(before, NOW), HistoryEntry(after, LATER, "why"))
    else:
        with pytest.raises(AssertionError, match="cannot become"):
            upload.with_status(after, LATER)


def test_ended_uploads_have_no_transitions() -> None:
    """No status follows expired or terminated, and only these have ended."""
    for status in Status:
        has_ended = replace(UPLOAD, status=status).has_ended
        assert has_ended == (not TRANSITIONS[status])


def test_advance_grows_up_to_the_length() -> None:
    """The offset grows up to the length; the state of the store is replaced or kept."""
    advanced = UPLOAD.advance(10, LATER, {"part": 1})
    assert (advanced.offset, advanced.updated_at, advanced.storage) == (10, LATER, {"part": 1})
    assert advanced.advance(10, LATER).storage == {"part": 1}
    assert not advanced.is_complete
    assert DEFERRED.advance(99, LATER).offset == 99


def test_truncate_to() -> None:
    """Only a power loss lowers the offset."""
    assert UPLOAD.truncate_to(3, LATER).offset == 3


def test_declare_length() -> None:
    """Once; the same length may be repeated."""
    assert DEFERRED.declare_length(4).length == 4
    assert UPLOAD.declare_length(10).length == 10


def test_complete_upload_is_processing() -> None:
    """With all bytes stored, the status becomes processing, unless it is already."""
    full = UPLOAD.advance(10, NOW)
    done = full.complete(LATER)
    assert done.is_complete
    assert (done.completed_at, done.status) == (LATER, Status.PROCESSING)
    joined = full.with_status(Status.PROCESSING, NOW)
    assert joined.complete(LATER).history == joined.history


def test_transitions_return_new_values() -> None:
    """The old value and all other fields stay unchanged."""
    before = replace(UPLOAD)
    after = UPLOAD.with_storage({"part": 1}).with_token(7)
    assert before == UPLOAD
    assert replace(UPLOAD, storage={"part": 1}, token=7) == after
    assert UPLOAD.with_storage(UPLOAD.storage) is UPLOAD
    with pytest.raises(FrozenInstanceError):
        after.token = 8  # type: ignore[misc]  # what is tested


def test_expiry_is_moved_or_removed() -> None:
    """The expiry can be moved or removed."""
    assert UPLOAD.expiring(LATER).expires_at == LATER
    assert UPLOAD.expiring(LATER).expiring(None).expires_at is None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: UPLOAD.advance(3, LATER),
        lambda: UPLOAD.advance(11, LATER),
        lambda: COMPLETE.advance(10, LATER),
        lambda: UPLOAD.truncate_to(4, LATER),
        lambda: COMPLETE.truncate_to(3, LATER),
        lambda: UPLOAD.declare_length(11),
        lambda: DEFERRED.declare_length(3),
        lambda: UPLOAD.complete(LATER),
        lambda: DEFERRED.complete(LATER),
        lambda: COMPLETE.complete(LATER),
    ],
)
def test_forbidden_transitions(wrong: Callable[[], Upload]) -> None:
    """A transition that the state forbids is a programming error."""
    with pytest.raises(AssertionError):
        wrong()


def test_move_records_the_path() -> None:
    """A complete upload is moved with its path in the history; no steps are left."""
    moved = replace(COMPLETE, pending_steps=("validation",)).move("/archive/a", LATER)
    assert (moved.status, moved.pending_steps, moved.updated_at) == (Status.MOVED, (), LATER)
    assert dict(moved.history[-1].details) == {"moved_to": "/archive/a"}
    assert moved.is_handed_to_workers
    with pytest.raises(AssertionError):
        UPLOAD.move("/archive/a", LATER)
