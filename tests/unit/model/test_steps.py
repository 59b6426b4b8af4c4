"""The registry of processing steps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from tusd_py.model.steps import ASSEMBLY, PUBLISHING, STEPS, VALIDATION, steps_for
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.settings import Settings

NOW = datetime(2026, 3, 1, tzinfo=UTC)
UPLOAD = Upload(id="a", length=1, created_at=NOW, updated_at=NOW)
COMPLETE = UPLOAD.advance(1, NOW).complete(NOW)


def test_settings_enable_steps_in_order() -> None:
    """Each step with a setting is enabled by it, and enabled steps keep the order of the registry."""
    assert Settings().steps == ()
    settings = Settings.model_validate(
        {"publishing": {"directory": "out"}, "validation": {"enabled": True}, "quotas": {"enabled": True}}
    )
    assert settings.steps == tuple(step.name for step in STEPS if step.setting) == ("quota", "validation", "publishing")


def test_steps_for_kind() -> None:
    """Partial uploads pass no step; regular and final uploads pass all that follow completion."""
    enabled = (VALIDATION.name, PUBLISHING.name)
    assert steps_for(replace(UPLOAD, kind=Kind.PARTIAL), enabled) == ()
    assert steps_for(UPLOAD, enabled) == steps_for(replace(UPLOAD, kind=Kind.FINAL), enabled) == enabled


def test_is_next() -> None:
    """A step is next only while the upload is processing and no other step comes before it."""
    waiting = COMPLETE.hand_to_workers(("validation", "publishing"), NOW)
    assert VALIDATION.is_next(waiting) and not PUBLISHING.is_next(waiting)
    assert not VALIDATION.is_next(waiting.with_status(Status.TERMINATED, NOW))


def test_is_passed() -> None:
    """A step is passed when it leaves the pending steps without a failure; assembly when a final upload completes."""
    waiting = COMPLETE.hand_to_workers(("validation",), NOW)
    assert VALIDATION.is_passed(waiting, waiting.complete_step("validation", NOW))
    assert not VALIDATION.is_passed(waiting, waiting.fail_step("validation", Status.REJECTED, NOW, "why"))
    assert not ASSEMBLY.is_passed(UPLOAD, COMPLETE)
    assert ASSEMBLY.is_passed(replace(UPLOAD, kind=Kind.FINAL), replace(COMPLETE, kind=Kind.FINAL))
