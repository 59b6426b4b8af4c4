"""R6, R10: problem documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.unit.protocol.test_errors import refusals
from tusd_py.model.upload import Upload
from tusd_py.protocol import errors
from tusd_py.protocol.draft.problems import Problem, format_problem, problem_for
from tusd_py.protocol.draft.versions import VERSIONS
from tusd_py.protocol.errors import TusError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COMPLETE = Upload(id="a", length=5, offset=5, created_at=NOW, updated_at=NOW, completed_at=NOW)
REGISTRY = "https://iana.org/assignments/http-problem-types#"


def test_mismatching_offset() -> None:
    """R10: both offsets are told."""
    told = problem_for(errors.OffsetMismatch(3, 5), VERSIONS[8])
    document = json.loads(format_problem(told, "ERR", "go on"))
    assert {
        "type": f"{REGISTRY}mismatching-upload-offset",
        "title": "Mismatching Upload Offset",
        "status": 409,
        "detail": "go on",
        "code": "ERR",
        "expected-offset": 3,
        "provided-offset": 5,
    } == document


@pytest.mark.parametrize(
    "error", [errors.InconsistentLength(), errors.LengthAlreadyKnown(5, 0), errors.LengthExceeded(5)], ids=repr
)
def test_inconsistent_length(error: TusError) -> None:
    """R6: whatever contradicts the length is one problem, and 400, not tus's 413."""
    told = problem_for(error, VERSIONS[8])
    assert (400, f"{REGISTRY}inconsistent-upload-length") == (told.status, told.type)


@pytest.mark.parametrize(("number", "name"), [(6, "completed-upload"), (8, "completed-upload")])
def test_completed(number: int, name: str) -> None:
    """Up to version 8 there is a name for bytes that come after the last one."""
    told = problem_for(errors.LengthExceeded(5).with_upload(COMPLETE), VERSIONS[number])
    assert (400, REGISTRY + name) == (told.status, told.type)


@pytest.mark.parametrize("number", [5, 9])
def test_completed_without_a_name(number: int) -> None:
    """Before and after, they are too many bytes like any others."""
    told = problem_for(errors.LengthExceeded(5).with_upload(COMPLETE), VERSIONS[number])
    assert told.type.endswith("#inconsistent-upload-length")


def test_a_digest_that_differs() -> None:
    """R17: 460 is a status of tus alone."""
    assert Problem(400) == problem_for(errors.ChecksumMismatch(), VERSIONS[8])


@pytest.mark.parametrize("error", refusals(), ids=repr)
def test_every_refusal_can_be_told(error: TusError) -> None:
    """Every refusal has a document with a registered status, a title, its code and its sentence."""
    told = problem_for(error, VERSIONS[9])
    document = json.loads(format_problem(told, error.code, str(error)))
    assert told.status == document["status"]
    assert document["title"]
    assert (error.code, str(error)) == (document["code"], document["detail"])


def test_a_status_without_a_phrase() -> None:
    """A status that no standard names has no title."""
    assert "" == json.loads(format_problem(Problem(499), "ERR", "x"))["title"]
