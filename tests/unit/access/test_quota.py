"""What an upload is charged, and when days and months begin."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.support.harness import CALLER, EPOCH
from tusd_py.access.quota import QuotaPolicy, charged_bytes, parse_subject, subject_of
from tusd_py.model.principal import Principal, PrincipalLimits
from tusd_py.model.quota import ExhaustedQuota, Quota, QuotaLimits
from tusd_py.model.upload import Kind, Status, Upload

UPLOAD = Upload(id="u", length=10, created_at=EPOCH, updated_at=EPOCH)
FINAL = replace(UPLOAD, kind=Kind.FINAL, parts=("a", "b"))
COMPLETE = UPLOAD.advance(10, EPOCH).complete(EPOCH)
POLICY = QuotaPolicy(limits=QuotaLimits(bytes_per_day=100, bytes_per_month=1000))


@pytest.mark.parametrize(
    ("upload", "charged"),
    [
        (UPLOAD, 10),
        (UPLOAD.advance(4, EPOCH), 10),
        (replace(UPLOAD, length=None), 0),
        (replace(UPLOAD, length=None).advance(4, EPOCH), 4),
        (COMPLETE, 10),
        (UPLOAD.advance(4, EPOCH).with_status(Status.TERMINATED, EPOCH), 4),
        (UPLOAD.advance(4, EPOCH).with_status(Status.EXPIRED, EPOCH), 4),
        (UPLOAD.advance(4, EPOCH).with_status(Status.FAILED, EPOCH), 4),
        (COMPLETE.with_status(Status.REJECTED, EPOCH), 10),
        (COMPLETE.with_status(Status.TERMINATED, EPOCH), 10),
        (FINAL, 10),
        (replace(FINAL, length=None), 0),
        (FINAL.with_status(Status.TERMINATED, EPOCH), 0),
    ],
)
def test_charged_bytes(upload: Upload, charged: int) -> None:
    """The length once it is known; what was filled once it has ended: only unfilled bytes are released."""
    assert charged_bytes(upload) == charged


def test_saves_of_a_running_upload_charge_nothing() -> None:
    """A save of bytes within the length costs no statement; a deferred length grows with its bytes."""
    assert POLICY.charge(UPLOAD, UPLOAD.advance(4, EPOCH), CALLER) is None
    deferred = replace(UPLOAD, length=None)
    grown = POLICY.charge(deferred, deferred.advance(4, EPOCH), CALLER)
    assert grown is not None
    assert (grown.amounts.bytes, grown.is_new) == (4, False)


def test_settled_by_the_step() -> None:
    """Passing the step ``quota`` settles the charge, and so does every end."""
    waiting = COMPLETE.hand_to_workers(("quota", "validation"), EPOCH)
    assert POLICY.charge(COMPLETE, waiting, None) is None
    settled = POLICY.charge(waiting, waiting.complete_step("quota", EPOCH), None)
    assert settled is not None
    assert settled.is_settled
    moved = POLICY.charge(waiting, waiting.move("/archive/u", EPOCH), None)
    assert moved is not None, "the step does not run any more"
    assert (moved.is_settled, moved.amounts.bytes) == (True, 10)
    ended = POLICY.charge(UPLOAD, UPLOAD.with_status(Status.EXPIRED, EPOCH), None)
    assert ended is not None
    assert (ended.is_settled, ended.amounts.bytes) == (True, 0)


@pytest.mark.parametrize(
    ("zone", "at", "day", "month", "day_ends", "month_ends"),
    [
        ("UTC", "2026-01-31T23:59:59", "2026-01-31", "2026-01", "2026-02-01T00:00", "2026-02-01T00:00"),
        ("UTC", "2026-12-31T00:00:00", "2026-12-31", "2026-12", "2027-01-01T00:00", "2027-01-01T00:00"),
        ("UTC", "2028-02-29T12:00:00", "2028-02-29", "2028-02", "2028-03-01T00:00", "2028-03-01T00:00"),
        ("Europe/Berlin", "2026-03-28T23:30:00", "2026-03-29", "2026-03", "2026-03-29T22:00", "2026-03-31T22:00"),
        ("Europe/Berlin", "2026-10-25T12:00:00", "2026-10-25", "2026-10", "2026-10-25T23:00", "2026-10-31T23:00"),
        ("America/New_York", "2026-06-01T03:59:00", "2026-05-31", "2026-05", "2026-06-01T04:00", "2026-06-01T04:00"),
    ],
)
def test_days_and_months_are_those_of_the_zone(
    zone: str, at: str, day: str, month: str, day_ends: str, month_ends: str
) -> None:
    """Days and months are those of the zone, also where a day has 23 or 25 hours."""
    policy = replace(POLICY, zone=ZoneInfo(zone))
    now = datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert policy.periods(now) == (day, month, "now")
    resets = {quota: policy.resets_at(quota, now) for quota in Quota}
    ends = {quota: reset.replace(tzinfo=None) for quota, reset in resets.items() if reset is not None}
    day_end, month_end = datetime.fromisoformat(day_ends), datetime.fromisoformat(month_ends)
    assert ends == {
        Quota.BYTES_PER_DAY: day_end,
        Quota.BYTES_PER_MONTH: month_end,
        Quota.FILES_PER_DAY: day_end,
        Quota.FILES_PER_MONTH: month_end,
    }


def test_refusal_says_what_is_reached() -> None:
    """The message has the quota, the limit, what is used, and the reset."""
    refusal = POLICY.refusal(ExhaustedQuota(Quota.BYTES_PER_MONTH, 1000, 990), EPOCH)
    assert str(refusal) == (
        "the quota bytes_per_month is 1000 bytes, of which 990 are used; it is reset at 2026-02-01T00:00:00Z"
    )


def test_refusal_of_files_and_of_what_exists_now() -> None:
    """413 where a smaller upload may fit, else 403; members for programs; no time resets what exists now."""
    files = POLICY.refusal(ExhaustedQuota(Quota.FILES_PER_DAY, 5, 5), EPOCH)
    assert (files.status, files.code) == (403, "ERR_FILE_QUOTA_EXCEEDED")
    assert str(files) == "the quota files_per_day is 5 files, of which 5 are used; it is reset at 2026-01-02T00:00:00Z"
    stored = POLICY.refusal(ExhaustedQuota(Quota.BYTES_STORED, 100, 90), EPOCH)
    assert (stored.status, str(stored)) == (
        413,
        "the quota bytes_stored is 100 bytes, of which 90 are used; delete uploads, or wait until some expire",
    )
    assert stored.members == {"quota": "bytes_stored", "limit": 100, "used": 90, "resets-at": None}
    at_once = POLICY.refusal(ExhaustedQuota(Quota.UPLOADS_AT_ONCE, 2, 2), EPOCH)
    assert (at_once.status, str(at_once).endswith("complete or delete an unfinished upload first")) == (403, True)


@pytest.mark.parametrize(
    ("upload", "amounts"),
    [
        (UPLOAD, (10, 1, 10, 1)),
        (replace(UPLOAD, kind=Kind.PARTIAL), (10, 0, 10, 0)),
        (FINAL, (10, 1, 10, 1)),
        (COMPLETE, (10, 1, 10, 0)),
        (COMPLETE.with_status(Status.REJECTED, EPOCH), (10, 1, 0, 0)),
        (COMPLETE.move("/archive/u", EPOCH), (10, 1, 0, 0)),
        (UPLOAD.advance(4, EPOCH).with_status(Status.FAILED, EPOCH), (4, 1, 4, 0)),
        (UPLOAD.advance(4, EPOCH).with_status(Status.EXPIRED, EPOCH), (4, 1, 0, 0)),
        (COMPLETE.with_status(Status.TERMINATED, EPOCH), (10, 1, 0, 0)),
    ],
)
def test_end_releases_what_is_stored_and_unfinished_only(upload: Upload, amounts: tuple[int, int, int, int]) -> None:
    """Bytes and files stay charged to their day; what is stored and unfinished is released at the end."""
    policy = replace(POLICY, counts_now=True, deletes_rejected=True)
    assert policy.amounts(upload) == amounts
    assert POLICY.amounts(upload) == (*amounts[:2], 0, 0)
    kept = replace(policy, deletes_rejected=False).amounts(upload)
    assert kept.stored == (10 if upload.status is Status.REJECTED else amounts[2])


def test_limits_of_credentials_come_first() -> None:
    """A claim replaces the limit of the settings, upwards too; zero allows nothing."""
    principal = Principal(subject="a", limits=PrincipalLimits(bytes_per_day=0, bytes_per_month=5000))
    assert POLICY.limits_for(principal) == QuotaLimits(bytes_per_day=0, bytes_per_month=5000)
    assert POLICY.limits_for(Principal()) == POLICY.limits


def test_subjects_never_collide() -> None:
    """No owner has the name of an address."""
    assert subject_of("192.0.2.7", "") != subject_of("", "192.0.2.7")
    assert subject_of("address:192.0.2.7", "x") != subject_of("", "192.0.2.7")


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("user:alice", "user:alice"),
        ("user:a/b c:d", "user:a/b c:d"),
        ("address:192.0.2.7", "address:192.0.2.7"),
        ("address:::ffff:192.0.2.7", "address:192.0.2.7"),
        ("address:2001:db8::7", "address:2001:db8::/64"),
        ("address:2001:db8:0:0::/64", "address:2001:db8::/64"),
    ],
)
def test_subjects_are_named_as_they_are_charged(text: str, subject: str) -> None:
    """What an operator types is the subject that uploads are charged to."""
    assert parse_subject(text) == subject


@pytest.mark.parametrize(
    "text", ["", "alice", "user:", "user:a\n", "address:999", "address:1.2.3.4/24", "address:::/65"]
)
def test_no_subject(text: str) -> None:
    """Limits for what can never be charged would have no effect."""
    with pytest.raises(ValueError, match="is"):
        parse_subject(text)
