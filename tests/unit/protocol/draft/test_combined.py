"""Answers to questions that name no dialect."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from tests.unit.protocol.test_responses import headers, plainly
from tusd_py.model.upload import Upload
from tusd_py.protocol.draft import combined, responses
from tusd_py.protocol.draft.versions import VERSIONS
from tusd_py.protocol.errors import UploadNotFound
from tusd_py.protocol.outcomes import Created, Discovered, Inspected
from tusd_py.protocol.responses import Formatter, extensions
from tusd_py.protocol.rules import Limits

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UPLOAD = Upload(id="a", length=5, offset=2, created_at=NOW, updated_at=NOW)
TUS = Formatter(limits=Limits(), extensions=extensions(Limits()))
DRAFT = responses.DraftFormatter(limits=Limits(), version=VERSIONS[9], clock=lambda: NOW)
EITHER = combined.CombinedFormatter(tus=TUS, draft=DRAFT)


def test_head_has_headers_of_both() -> None:
    """All headers of tus, and those of R8; no duplicates and no interop version."""
    tus = headers(TUS.format_outcome(Inspected(upload=UPLOAD), plainly("HEAD")))
    both = headers(EITHER.format_outcome(Inspected(upload=UPLOAD), plainly("HEAD")))
    assert tus | {"upload-complete": "?0", "upload-limit": "min-size=0"} == both


def test_options_has_headers_of_both() -> None:
    """R14: the limits come with the extensions."""
    tus = headers(TUS.format_outcome(Discovered(), plainly("OPTIONS")))
    both = headers(EITHER.format_outcome(Discovered(), plainly("OPTIONS")))
    assert tus | {"upload-limit": "min-size=0"} == both
    both = headers(replace(EITHER, has_accept_patch=True).format_outcome(Discovered(), plainly("OPTIONS")))
    assert tus | {"upload-limit": "min-size=0", "accept-patch": "application/partial-upload"} == both


def test_other_responses_are_tus() -> None:
    """Only OPTIONS and HEAD have combined responses."""
    created = Created(upload=UPLOAD, took_body=False)
    assert TUS.format_outcome(created, plainly("POST"), "/a") == EITHER.format_outcome(created, plainly("POST"), "/a")
    error = UploadNotFound()
    assert TUS.format_refusal(error, plainly("HEAD")) == EITHER.format_refusal(error, plainly("HEAD"))
