"""Errors as problem documents (RFC 9457): the draft's own problem types, ``about:blank`` for all others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from tusd_py.protocol.draft.versions import Version
from tusd_py.protocol.errors import (
    ChecksumMismatch,
    InconsistentLength,
    LengthAlreadyKnown,
    LengthExceeded,
    OffsetMismatch,
    TusError,
)

_TYPES = "https://iana.org/assignments/http-problem-types#"
_PHRASES: Mapping[int, str] = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Problem:
    """The status and problem type of an error in the draft."""

    status: int
    type: str = "about:blank"
    title: str = ""  # RFC 9457, 4.2.1: with about:blank "the same as the recommended HTTP status phrase"
    members: Mapping[str, object] = field(default_factory=dict)


def problem_for(error: TusError, version: Version) -> Problem:
    """The problem that reports ``error`` in this version of the draft."""
    match error:
        case OffsetMismatch():
            members: Mapping[str, object] = {"expected-offset": error.expected, "provided-offset": error.received}
            return Problem(409, f"{_TYPES}mismatching-upload-offset", "Mismatching Upload Offset", members)
        case LengthExceeded() if (
            version.has_completed_problem and error.upload is not None and error.upload.is_complete
        ):
            return Problem(400, f"{_TYPES}completed-upload", "Upload Is Completed")
        case LengthExceeded() | LengthAlreadyKnown() | InconsistentLength():
            # Not 413: after a 413 clients retry with fewer bytes, which would not help.
            return Problem(400, f"{_TYPES}inconsistent-upload-length", "Inconsistent Upload Length Values")
        case ChecksumMismatch():
            return Problem(400)  # 460 exists only in tus
    return Problem(error.status, members=error.members)


def format_problem(problem: Problem, code: str, sentence: str) -> bytes:
    """The problem document as JSON; ``code`` and ``sentence`` are the same as in tus 1.0."""
    title = problem.title or _PHRASES.get(problem.status, "")
    document = {"type": problem.type, "title": title, "status": problem.status, "detail": sentence, "code": code}
    return json.dumps({**document, **problem.members}).encode("ascii")
