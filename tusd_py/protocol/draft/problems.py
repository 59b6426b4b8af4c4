"""Refusals as problem documents (RFC 9457): the draft's own types, and ``about:blank`` for every other."""

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
    """What a refusal is called in the draft, where that differs from tus 1.0."""

    status: int
    type: str = "about:blank"
    title: str = ""  # RFC 9457, 4.2.1: with about:blank "the same as the recommended HTTP status phrase"
    members: Mapping[str, int] = field(default_factory=dict)


def problem(error: TusError, version: Version) -> Problem:
    """How ``error`` is told."""
    match error:
        case OffsetMismatch():
            members = {"expected-offset": error.expected, "provided-offset": error.received}
            return Problem(409, f"{_TYPES}mismatching-upload-offset", "Mismatching Upload Offset", members)
        case LengthExceeded() if version.names_completed and error.upload is not None and error.upload.is_complete:
            return Problem(400, f"{_TYPES}completed-upload", "Upload Is Completed")
        case LengthExceeded() | LengthAlreadyKnown() | InconsistentLength():
            # Not 413: after that a client tries again with less, which this does not cure.
            return Problem(400, f"{_TYPES}inconsistent-upload-length", "Inconsistent Upload Length Values")
        case ChecksumMismatch():
            return Problem(400)  # 460 is tus's own
    return Problem(error.status)


def format_problem(told: Problem, code: str, sentence: str) -> bytes:
    """The document: ``code`` and ``sentence`` are those of any dialect."""
    title = told.title or _PHRASES.get(told.status, "")
    document = {"type": told.type, "title": title, "status": told.status, "detail": sentence, "code": code}
    return json.dumps({**document, **told.members}).encode("ascii")
