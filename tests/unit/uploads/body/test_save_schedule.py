"""``SaveSchedule``: what a crash makes a client repeat is bounded by time and by bytes; little costs few saves."""

from __future__ import annotations

import pytest

from tusd_py.uploads.body.save_schedule import GATHERED_BYTES, SaveSchedule
from tusd_py.uploads.policy import UploadPolicy

POLICY = UploadPolicy(
    save_interval_seconds=1, save_interval_bytes=1_000_000, save_small_bytes=65_536, save_small_seconds=10
)


@pytest.mark.parametrize(
    ("unsaved", "wait_seconds"),
    [
        (0, None),
        (1, 10),
        (65_535, 10),
        (65_536, 1),
        (999_999, 1),
        (1_000_000, 0),
    ],
)
def test_wait_depends_on_unsaved_bytes(unsaved: int, wait_seconds: float | None) -> None:
    """No save within 10 s for less than 64 KiB, within 1 s for more, at once for many bytes."""
    schedule = SaveSchedule(POLICY, 100.0, reports_progress=False)
    assert schedule.wait_seconds(unsaved, 100.0) == wait_seconds


def test_wait_counts_from_the_last_save() -> None:
    schedule = SaveSchedule(POLICY, 100.0, reports_progress=False)
    assert schedule.wait_seconds(1, 104.0) == 6
    assert schedule.wait_seconds(1, 111.0) == 0
    schedule.saved(111.0)
    assert schedule.wait_seconds(1, 111.0) == 10
    assert schedule.wait_seconds(65_536, 111.5) == 0.5
    assert schedule.wait_seconds(65_536, 113.0) == 0


def test_reported_progress_keeps_the_interval() -> None:
    """Saves emit post-receive: an operator who subscribes to it gets it as often as before."""
    assert SaveSchedule(POLICY, 100.0, reports_progress=True).wait_seconds(1, 100.0) == 1


def test_small_interval_is_never_the_shorter_one() -> None:
    policy = UploadPolicy(save_interval_seconds=60, save_small_seconds=10)
    assert SaveSchedule(policy, 0.0, reports_progress=False).wait_seconds(1, 0.0) == 60


def test_gathered_bytes_pass_no_bound() -> None:
    """The body is looked at again before the unsaved bytes reach a bound that makes a save due earlier."""
    schedule = SaveSchedule(POLICY, 0.0, reports_progress=False)
    assert schedule.bytes_min(0) == 1
    assert schedule.bytes_min(1) == GATHERED_BYTES
    assert schedule.bytes_min(65_000) == 536
    assert schedule.bytes_min(65_536) == GATHERED_BYTES
    assert schedule.bytes_min(999_999) == 1
    assert schedule.bytes_min(2_000_000) == 1
