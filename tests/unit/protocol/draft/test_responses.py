"""From outcomes and refusals to answers in the draft, rule by rule."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.protocol.test_errors import all_errors
from tests.unit.protocol.test_responses import headers, plainly
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol import errors
from tusd_py.protocol.draft.parsing import UnsupportedPatch
from tusd_py.protocol.draft.responses import DraftFormatter
from tusd_py.protocol.draft.structured_fields import INTEGER_MAX
from tusd_py.protocol.draft.versions import UNVERSIONED, VERSIONS, Version
from tusd_py.protocol.errors import TusError
from tusd_py.protocol.outcomes import (
    Appended,
    Created,
    Discovered,
    Downloaded,
    Inspected,
    Outcome,
    ResponseOverride,
    Terminated,
)
from tusd_py.protocol.responses import ResponseContext
from tusd_py.protocol.rules import Limits

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
UPLOAD = Upload(id="a1", length=10, offset=4, created_at=NOW, updated_at=NOW, expires_at=NOW + timedelta(hours=1))
FULL = replace(UPLOAD, offset=10)
COMPLETE = replace(FULL, completed_at=NOW, status=Status.READY)
LIMIT = "max-size=100, max-age=3600"
STATE = {"upload-complete": "?0", "upload-offset": "4", "upload-length": "10", "upload-limit": LIMIT}
DONE = {"upload-complete": "?1", "upload-offset": "10", "upload-length": "10", "upload-limit": "max-size=100"}


def formatter(version: int | Version, limits: Limits | None = None, seconds: int = 0) -> DraftFormatter:
    spoken = version if isinstance(version, Version) else VERSIONS[version]
    return DraftFormatter(
        limits=limits or Limits(length_max=100), version=spoken, clock=lambda: NOW, unfinished_seconds=seconds
    )


def formatted(
    outcome: Outcome, version: int | Version = 8, context: ResponseContext | None = None
) -> tuple[int, dict[str, str]]:
    response = formatter(version).format_outcome(outcome, context or plainly("X"), "/files/a1")
    assert response.body == b""
    sent = headers(response)
    number = version.number if isinstance(version, Version) else version
    assert sent.pop("upload-draft-interop-version", None) == (str(number) if number else None)
    return response.status, sent


def refusal(error: TusError, method: str = "PATCH", version: int = 8) -> tuple[int, dict[str, str], dict[str, object]]:
    response = formatter(version).format_refusal(error, plainly(method))
    sent = headers(response)
    assert sent.pop("upload-draft-interop-version") == str(version)
    assert sent.pop("cache-control") == "no-store"
    assert isinstance(response.body, bytes)
    if response.body:
        assert sent.pop("content-type") == "application/problem+json"
        assert sent.pop("content-length") == str(len(response.body))
    return response.status, sent, json.loads(response.body) if response.body else {}


class TestInterim:
    @pytest.mark.parametrize("number", [8, 9])
    def test_created_interim(self, number: int) -> None:
        """R1, R3: the first 104 has the URL, the limits and the version."""
        interim = formatter(number).created_interim(UPLOAD, "/files/a1")
        assert interim is not None
        assert 104 == interim.status
        assert [
            (b"upload-draft-interop-version", b"%d" % number),
            (b"location", b"/files/a1"),
            (b"upload-limit", LIMIT.encode()),
        ] == interim.headers

    def test_progress_interim(self) -> None:
        """R3: the saved offset, and no Location."""
        interim = formatter(8).progress_interim(7)
        assert interim is not None
        assert [(b"upload-draft-interop-version", b"8"), (b"upload-offset", b"7")] == interim.headers
        assert formatter(5).progress_interim(7) is not None

    def test_interim_depends_on_version(self) -> None:
        """R1: clients without a known version get no 104; R3: the oldest versions get no progress."""
        assert formatter(UNVERSIONED).created_interim(UPLOAD, "/files/a1") is None
        assert formatter(UNVERSIONED).progress_interim(7) is None
        assert formatter(4).progress_interim(7) is None
        assert formatter(4).created_interim(UPLOAD, "/files/a1") is not None

    def test_progress_above_integer_max(self) -> None:
        """R7: an offset that is not an Integer is not sent."""
        assert formatter(8).progress_interim(INTEGER_MAX + 1) is None


class TestCreated:
    def test_created_part_201(self) -> None:
        """R2, R5: 201 with the URL, and not complete."""
        expected = {"location": "/files/a1", "content-length": "0"} | STATE
        assert (201, expected) == formatted(Created(upload=UPLOAD, took_body=True))

    def test_created_whole_201(self) -> None:
        """R2, R5: the response says that the upload is complete."""
        expected = {"location": "/files/a1", "content-length": "0"} | DONE
        assert (201, expected) == formatted(Created(upload=COMPLETE, took_body=True))

    def test_full_upload_is_not_complete(self) -> None:
        """R13: an upload at its length stays unfinished until its client completes it."""
        assert "?0" == formatted(Created(upload=FULL, took_body=True))[1]["upload-complete"]

    def test_created_version_3(self) -> None:
        """Version 3 has Upload-Incomplete and no limits."""
        sent = formatted(Created(upload=UPLOAD, took_body=True), 3)[1]
        assert "?1" == sent["upload-incomplete"]
        assert "upload-limit" not in sent
        assert "?0" == formatted(Created(upload=COMPLETE, took_body=True), 3)[1]["upload-incomplete"]

    def test_created_unversioned(self) -> None:
        """A client without a known version gets the result and no version."""
        assert "?1" == formatted(Created(upload=COMPLETE, took_body=True), UNVERSIONED)[1]["upload-complete"]

    def test_override_keeps_location(self) -> None:
        """R4: all Location values of one request are equal, except in the response to a complete upload."""
        override = ResponseOverride(headers={"Location": "/other", "X-A": "b"})
        sent = formatted(Created(upload=UPLOAD, took_body=True, override=override))[1]
        assert ("/files/a1", "b") == (sent["location"], sent["x-a"])
        assert "/other" == formatted(Created(upload=COMPLETE, took_body=True, override=override))[1]["location"]


class TestAppended:
    def test_appended_part_204(self) -> None:
        """R9: 2xx and not complete; tus-js-client needs the offset too."""
        assert (204, STATE) == formatted(Appended(upload=UPLOAD))

    def test_appended_last_201(self) -> None:
        """R9: the last append gets the response of a whole upload."""
        assert (201, DONE | {"content-length": "0"}) == formatted(Appended(upload=COMPLETE))

    def test_appended_201_until_version_6(self) -> None:
        """Every append is answered 201, and the lifetime has another key."""
        status, sent = formatted(Appended(upload=UPLOAD), 6)
        assert (201, "max-size=100, expires=3600") == (status, sent["upload-limit"])

    def test_appended_override(self) -> None:
        """R2: the response to a complete upload is the application's."""
        override = ResponseOverride(status=200, body="done")
        response = formatter(8).format_outcome(Appended(upload=COMPLETE, override=override), plainly("PATCH"))
        assert (200, b"done") == (response.status, response.body)


class TestOthers:
    @pytest.mark.parametrize("method", ["HEAD", "GET"])
    def test_retrieval_204(self, method: str) -> None:
        """R8: 204 with offset, completeness, length and limits, not cacheable."""
        expected = STATE | {"cache-control": "no-store"}
        assert (204, expected) == formatted(Inspected(upload=UPLOAD), context=plainly(method))

    def test_retrieval_by_override(self) -> None:
        """The same for a POST with the override HEAD."""
        assert (204, STATE | {"cache-control": "no-store"}) == formatted(
            Inspected(upload=UPLOAD), context=ResponseContext("HEAD", "POST")
        )

    def test_unknown_values_are_left_out(self) -> None:
        """R7, R8: no unknown length, and no number that is not an Integer."""
        assert "upload-length" not in formatted(Inspected(upload=replace(UPLOAD, length=None)))[1]
        huge = replace(UPLOAD, length=INTEGER_MAX + 2, offset=INTEGER_MAX + 1)
        assert {"upload-length", "upload-offset"}.isdisjoint(formatted(Inspected(upload=huge))[1])

    def test_terminated_204(self) -> None:
        """R15: 204."""
        assert (204, {}) == formatted(Terminated(upload=UPLOAD))

    def test_discovery_204(self) -> None:
        """R14: the limits of new uploads, or that there are none; and the type of appends."""
        response = formatter(8, seconds=60).format_outcome(Discovered(), plainly("OPTIONS"))
        assert (204, "max-size=100, max-age=60") == (response.status, headers(response)["upload-limit"])
        assert "application/partial-upload" == headers(response)["accept-patch"]
        assert (
            "min-size=0" == headers(formatter(8, Limits()).format_outcome(Discovered(), plainly("X")))["upload-limit"]
        )

    def test_no_download(self) -> None:
        """The draft has no downloads; formatting one is a programming error."""
        with pytest.raises(AssertionError):
            formatted(Downloaded(upload=UPLOAD, start=0, stop=0, partial=False, body=None))


class TestRefusals:
    def test_offset_mismatch_409(self) -> None:
        """R10: the correct offset, not complete, and both offsets in the document."""
        status, sent, document = refusal(errors.OffsetMismatch(4, 2).with_upload(UPLOAD))
        assert (409, {"upload-complete": "?0", "upload-offset": "4"}) == (status, sent)
        assert (4, 2) == (document["expected-offset"], document["provided-offset"])
        assert "upload-incomplete" in refusal(errors.OffsetMismatch(4, 2).with_upload(UPLOAD), version=3)[1]

    def test_inconsistent_length_400(self) -> None:
        """R6: 400, not complete, with the problem type."""
        status, sent, document = refusal(errors.InconsistentLength(), "POST")
        assert (400, {"upload-complete": "?0"}) == (status, sent)
        assert str(document["type"]).endswith("#inconsistent-upload-length")

    def test_too_large_413(self) -> None:
        """R14: a 413 has the limit."""
        status, sent, _ = refusal(errors.MaxSizeExceeded(100), "POST")
        assert (413, "max-size=100") == (status, sent["upload-limit"])

    def test_unsupported_patch_415(self) -> None:
        """RFC 5789: the response has the type of appends."""
        status, sent, _ = refusal(UnsupportedPatch())
        assert (415, "application/partial-upload") == (status, sent["accept-patch"])

    def test_method_not_allowed_405(self) -> None:
        """The response lists the methods."""
        assert "A, B" == refusal(errors.MethodNotAllowed(("A", "B")))[1]["allow"]

    def test_retry_after(self) -> None:
        """R12: an interrupted client gets Retry-After and the offset."""
        status, sent, _ = refusal(errors.ReadTimeout().with_upload(UPLOAD))
        assert (503, "1", "4") == (status, sent["retry-after"], sent["upload-offset"])

    def test_gone_404_or_410(self) -> None:
        """R11: 410 or 404 by setting, and 404 up to version 6."""
        assert 410 == refusal(errors.UploadGone())[0]
        assert 404 == refusal(errors.UploadGone(), version=6)[0]
        response = formatter(8, Limits(gone_status=404)).format_refusal(errors.UploadGone(), plainly("PATCH"))
        assert 404 == response.status

    @pytest.mark.parametrize("method", ["HEAD", "GET", "DELETE"])
    def test_error_without_state_on_reads(self, method: str) -> None:
        """An error on HEAD, GET or DELETE has no state headers: clients would take an offset as success."""
        _, sent, _ = refusal(errors.UploadNotFound().with_upload(UPLOAD), method)
        assert {"upload-offset", "upload-complete"}.isdisjoint(sent)

    def test_error_on_head(self) -> None:
        """RFC 9110: an error on HEAD has no body."""
        assert (404, {}, {}) == refusal(errors.UploadNotFound(), "HEAD")

    def test_error_override(self) -> None:
        """The body of a hook replaces the problem document and its type."""
        error = errors.UploadRejected()
        error.override = ResponseOverride(status=402, body="pay")
        response = formatter(8).format_refusal(error, plainly("POST"))
        assert (402, b"pay") == (response.status, response.body)
        assert "text/plain; charset=utf-8" == headers(response)["content-type"]

    def test_format_error(self) -> None:
        """Errors outside the protocol have the same format."""
        response = formatter(8).format_error(507, "ERR_FULL", "no room", plainly("PATCH"), [(b"retry-after", b"9")])
        assert isinstance(response.body, bytes)
        assert (507, "9") == (response.status, headers(response)["retry-after"])
        assert "no room" == json.loads(response.body)["detail"]

    @pytest.mark.parametrize("error", all_errors(), ids=repr)
    def test_every_error_has_a_response(self, error: TusError) -> None:
        """R5: each is a 4xx or 5xx problem document that never claims a complete upload."""
        status, sent, document = refusal(error)
        assert 400 <= status <= 599
        assert status == document["status"]
        assert "?0" == sent["upload-complete"]
