"""The runners of the processing steps."""

from __future__ import annotations

from tusd_py.model.steps import STEPS
from tusd_py.uploads.processing.steps import STEP_RUNNERS


def test_every_step_has_a_runner() -> None:
    """The registry of steps and the table of their runners have the same names in the same order."""
    assert [step.name for step in STEPS] == list(STEP_RUNNERS)
