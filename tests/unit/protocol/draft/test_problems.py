"""R6, R10: problem documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.unit.protocol.test_errors import all_errors
from tusd_py.model.upload import Upload
from tusd_py.protocol import errors
from tusd_py.protocol.draft.problems import Problem, format_problem, problem_for
from tusd_py.protocol.draft.versions import VERSIONS
from tusd_py.protocol.errors import TusError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COMPLETE = Upload(id="a", length=5, offset=5, created_at=NOW, updated_at=NOW, completed_at=NOW)
REGISTRY = "https://iana.org/assignments/http-problem-types#"


def test_mismatching_offset_409() -> None:
    """R10: the problem has both offsets."""
    problem = problem_for(errors.OffsetMismatch(3, 5), VERSIONS[8])
    document = json.loads(format_problem(problem, "ERR", "go on"))
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
def test_inconsistent_length_400(error: TusError) -> None:
    """R6: every contradiction of the length is the same problem, and 400 instead of 413."""
    problem = problem_for(error, VERSIONS[8])
    assert (400, f"{REGISTRY}inconsistent-upload-length") == (problem.status, problem.type)


@pytest.mark.parametrize(("number", "name"), [(6, "completed-upload"), (8, "completed-upload")])
def test_completed_upload_400(number: int, name: str) -> None:
    """Up to version 8 there is a problem type for bytes after the last append."""
    problem = problem_for(errors.LengthExceeded(5).with_upload(COMPLETE), VERSIONS[number])
    assert (400, REGISTRY + name) == (problem.status, problem.type)


@pytest.mark.parametrize("number", [5, 9])
def test_completed_without_problem_type(number: int) -> None:
    """In other versions they are an inconsistent length."""
    problem = problem_for(errors.LengthExceeded(5).with_upload(COMPLETE), VERSIONS[number])
    assert problem.type.endswith("#inconsistent-upload-length")


def test_checksum_mismatch_400() -> None:
    """R17: status 460 exists only in tus."""
    assert Problem(400) == problem_for(errors.ChecksumMismatch(), VERSIONS[8])


@pytest.mark.parametrize("error", all_errors(), ids=repr)
def test_every_error_has_a_problem(error: TusError) -> None:
    """Every error has a document with a registered status, a title, its code and its message."""
    problem = problem_for(error, VERSIONS[9])
    document = json.loads(format_problem(problem, error.code, str(error)))
    assert problem.status == document["status"]
    assert document["title"]
    assert (error.code, str(error)) == (document["code"], document["detail"])


def test_status_without_phrase() -> None:
    """A status that no standard registers has an empty title."""
    assert "" == json.loads(format_problem(Problem(499), "ERR", "x"))["title"]
