"""R14: the Upload-Limit field."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tusd_py.model.upload import Status, Upload
from tusd_py.protocol.draft.limits import format_limits, lifetime_seconds
from tusd_py.protocol.draft.structured_fields import INTEGER_MAX
from tusd_py.protocol.draft.versions import VERSIONS
from tusd_py.protocol.rules import Limits

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UPLOAD = Upload(id="a", length=5, created_at=NOW, updated_at=NOW, expires_at=NOW + timedelta(seconds=90.9))


def test_no_limits() -> None:
    """Without limits the field has ``min-size=0``, because it must not be empty."""
    assert "min-size=0" == format_limits(VERSIONS[8], Limits(), None)
    assert "min-size=0" == format_limits(VERSIONS[8], Limits(length_max=INTEGER_MAX + 1), None)


def test_limits_by_version() -> None:
    """Version 6 has another key for the lifetime; earlier versions have no such field."""
    limits = Limits(length_max=1000)
    assert "max-size=1000, max-age=60" == format_limits(VERSIONS[8], limits, 60)
    assert "max-size=1000, expires=60" == format_limits(VERSIONS[6], limits, 60)
    assert format_limits(VERSIONS[5], limits, 60) is None


def test_limits_of_appends() -> None:
    """They follow the maximum size; a limit above the largest Integer cannot be told."""
    limits = Limits(append_bytes_max=100, append_bytes_min=5)
    assert "max-append-size=100, min-append-size=5, max-age=60" == format_limits(VERSIONS[9], limits, 60)
    assert "max-append-size=100, min-append-size=5, expires=60" == format_limits(VERSIONS[6], limits, 60)
    assert "min-size=0" == format_limits(VERSIONS[9], Limits(append_bytes_max=INTEGER_MAX + 1), None)


def test_lifetime_above_integer_max() -> None:
    """A lifetime above the largest Integer is reported as that Integer."""
    assert f"max-age={INTEGER_MAX}" == format_limits(VERSIONS[9], Limits(), 10**20)


def test_lifetime_to_date_is_steady() -> None:
    """Added to the whole second of the response, it is the same time whenever the response is sent."""
    for tenths in range(0, 100, 3):
        now = NOW + timedelta(seconds=tenths / 10)
        seconds = lifetime_seconds(UPLOAD, now, to_date=True)
        assert seconds is not None
        assert now.replace(microsecond=0) + timedelta(seconds=seconds) == NOW + timedelta(seconds=90)
    assert 0 == lifetime_seconds(UPLOAD, NOW + timedelta(days=1), to_date=True)


def test_lifetime_is_in_whole_seconds_and_never_negative() -> None:
    """Whole seconds, never negative; None for uploads that are complete, permanent or gone."""
    assert 90 == lifetime_seconds(UPLOAD, NOW)
    assert 0 == lifetime_seconds(UPLOAD, NOW + timedelta(days=1))
    assert lifetime_seconds(replace(UPLOAD, expires_at=None), NOW) is None
    assert lifetime_seconds(replace(UPLOAD, completed_at=NOW), NOW) is None
    assert lifetime_seconds(replace(UPLOAD, status=Status.EXPIRED), NOW) is None
