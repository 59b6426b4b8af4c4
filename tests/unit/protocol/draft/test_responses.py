"""From outcomes and refusals to answers in the draft, rule by rule."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.protocol.test_errors import refusals
from tests.unit.protocol.test_responses import headers, plainly
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol import errors
from tusd_py.protocol.draft.parsing import UnsupportedPatch
from tusd_py.protocol.draft.responses import Formatter
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


def formatter(version: int | Version, limits: Limits | None = None, seconds: int = 0) -> Formatter:
    spoken = version if isinstance(version, Version) else VERSIONS[version]
    return Formatter(
        limits=limits or Limits(length_max=100), version=spoken, clock=lambda: NOW, unfinished_seconds=seconds
    )


def answer(
    outcome: Outcome, version: int | Version = 8, asked: ResponseContext | None = None
) -> tuple[int, dict[str, str]]:
    reply = formatter(version).format_outcome(outcome, asked or plainly("X"), "/files/a1")
    assert reply.body == b""
    told = headers(reply)
    number = version.number if isinstance(version, Version) else version
    assert told.pop("upload-draft-interop-version", None) == (str(number) if number else None)
    return reply.status, told


def refusal(error: TusError, method: str = "PATCH", version: int = 8) -> tuple[int, dict[str, str], dict[str, object]]:
    reply = formatter(version).format_refusal(error, plainly(method))
    told = headers(reply)
    assert told.pop("upload-draft-interop-version") == str(version)
    assert told.pop("cache-control") == "no-store"
    assert isinstance(reply.body, bytes)
    if reply.body:
        assert told.pop("content-type") == "application/problem+json"
        assert told.pop("content-length") == str(len(reply.body))
    return reply.status, told, json.loads(reply.body) if reply.body else {}


class TestInterim:
    @pytest.mark.parametrize("number", [8, 9])
    def test_announcement(self, number: int) -> None:
        """R1, R3: a creation is told early where the upload is, its limits, and the version on each 104."""
        interim = formatter(number).created_interim(UPLOAD, "/files/a1")
        assert interim is not None
        assert 104 == interim.status
        assert [
            (b"upload-draft-interop-version", b"%d" % number),
            (b"location", b"/files/a1"),
            (b"upload-limit", LIMIT.encode()),
        ] == interim.headers

    def test_progress(self) -> None:
        """R3: how much is safe, and no Location."""
        interim = formatter(8).progress_interim(7)
        assert interim is not None
        assert [(b"upload-draft-interop-version", b"8"), (b"upload-offset", b"7")] == interim.headers
        assert formatter(5).progress_interim(7) is not None

    def test_not_for_everybody(self) -> None:
        """R1: nobody who named no known version is sent a 104; R3: progress is none of the oldest versions'."""
        assert formatter(UNVERSIONED).created_interim(UPLOAD, "/files/a1") is None
        assert formatter(UNVERSIONED).progress_interim(7) is None
        assert formatter(4).progress_interim(7) is None
        assert formatter(4).created_interim(UPLOAD, "/files/a1") is not None

    def test_progress_that_cannot_be_told(self) -> None:
        """R7: an offset that is no Integer is not told."""
        assert formatter(8).progress_interim(INTEGER_MAX + 1) is None


class TestCreated:
    def test_part(self) -> None:
        """R2, R5: 201, where to go on, and that it is not complete."""
        expected = {"location": "/files/a1", "content-length": "0"} | STATE
        assert (201, expected) == answer(Created(upload=UPLOAD, took_body=True))

    def test_whole(self) -> None:
        """R2, R5: the answer to the whole upload says that it is one."""
        expected = {"location": "/files/a1", "content-length": "0"} | DONE
        assert (201, expected) == answer(Created(upload=COMPLETE, took_body=True))

    def test_full_is_not_complete(self) -> None:
        """R13: an upload whose every byte is there is open until its client says otherwise."""
        assert "?0" == answer(Created(upload=FULL, took_body=True))[1]["upload-complete"]

    def test_in_version_3(self) -> None:
        """Version 3 has the opposite header, and no limits."""
        told = answer(Created(upload=UPLOAD, took_body=True), 3)[1]
        assert "?1" == told["upload-incomplete"]
        assert "upload-limit" not in told
        assert "?0" == answer(Created(upload=COMPLETE, took_body=True), 3)[1]["upload-incomplete"]

    def test_plain(self) -> None:
        """A client of no known version learns that its whole upload was taken, and no version."""
        assert "?1" == answer(Created(upload=COMPLETE, took_body=True), UNVERSIONED)[1]["upload-complete"]

    def test_a_hook_leaves_the_location(self) -> None:
        """R4: every Location of one exchange is the same, but for that of the whole upload's answer."""
        overlay = ResponseOverride(headers={"Location": "/other", "X-A": "b"})
        told = answer(Created(upload=UPLOAD, took_body=True, override=overlay))[1]
        assert ("/files/a1", "b") == (told["location"], told["x-a"])
        assert "/other" == answer(Created(upload=COMPLETE, took_body=True, override=overlay))[1]["location"]


class TestAppended:
    def test_part(self) -> None:
        """R9: 2xx and not complete; tus-js-client needs the offset too."""
        assert (204, STATE) == answer(Appended(upload=UPLOAD))

    def test_last(self) -> None:
        """R9: the last append is answered as the whole upload would have been."""
        assert (201, DONE | {"content-length": "0"}) == answer(Appended(upload=COMPLETE))

    def test_up_to_version_6(self) -> None:
        """Every append was answered 201, and a lifetime was called otherwise."""
        status, told = answer(Appended(upload=UPLOAD), 6)
        assert (201, "max-size=100, expires=3600") == (status, told["upload-limit"])

    def test_a_hook_may_answer(self) -> None:
        """R2: the whole upload's answer is the application's."""
        overlay = ResponseOverride(status=200, body="done")
        reply = formatter(8).format_outcome(Appended(upload=COMPLETE, override=overlay), plainly("PATCH"))
        assert (200, b"done") == (reply.status, reply.body)


class TestOthers:
    @pytest.mark.parametrize("method", ["HEAD", "GET"])
    def test_retrieval(self, method: str) -> None:
        """R8: 204 with offset, completeness, length and limits, never to be cached."""
        expected = STATE | {"cache-control": "no-store"}
        assert (204, expected) == answer(Inspected(upload=UPLOAD), asked=plainly(method))

    def test_overridden_retrieval(self) -> None:
        """The same, to a POST that means HEAD."""
        assert (204, STATE | {"cache-control": "no-store"}) == answer(
            Inspected(upload=UPLOAD), asked=ResponseContext("HEAD", "POST")
        )

    def test_what_is_unknown_is_left_out(self) -> None:
        """R7, R8: no length where there is none, and no number that is no Integer."""
        assert "upload-length" not in answer(Inspected(upload=replace(UPLOAD, length=None)))[1]
        huge = replace(UPLOAD, length=INTEGER_MAX + 2, offset=INTEGER_MAX + 1)
        assert {"upload-length", "upload-offset"}.isdisjoint(answer(Inspected(upload=huge))[1])

    def test_cancelled(self) -> None:
        """R15: 204."""
        assert (204, {}) == answer(Terminated(upload=UPLOAD))

    def test_discovery(self) -> None:
        """R14: the limits of uploads to come, or that there are none; and what appends are made of."""
        reply = formatter(8, seconds=60).format_outcome(Discovered(), plainly("OPTIONS"))
        assert (204, "max-size=100, max-age=60") == (reply.status, headers(reply)["upload-limit"])
        assert "application/partial-upload" == headers(reply)["accept-patch"]
        assert (
            "min-size=0" == headers(formatter(8, Limits()).format_outcome(Discovered(), plainly("X")))["upload-limit"]
        )

    def test_no_download(self) -> None:
        """A download has no answer in the draft: asking for one is our mistake."""
        with pytest.raises(AssertionError):
            answer(Downloaded(upload=UPLOAD, start=0, stop=0, partial=False, body=None))


class TestRefusals:
    def test_mismatch(self) -> None:
        """R10: 409 with the correct offset, not complete, and both offsets in the document."""
        status, told, document = refusal(errors.OffsetMismatch(4, 2).with_upload(UPLOAD))
        assert (409, {"upload-complete": "?0", "upload-offset": "4"}) == (status, told)
        assert (4, 2) == (document["expected-offset"], document["provided-offset"])
        assert "upload-incomplete" in refusal(errors.OffsetMismatch(4, 2).with_upload(UPLOAD), version=3)[1]

    def test_inconsistent_length(self) -> None:
        """R6: 400, not complete, and the problem's name."""
        status, told, document = refusal(errors.InconsistentLength(), "POST")
        assert (400, {"upload-complete": "?0"}) == (status, told)
        assert str(document["type"]).endswith("#inconsistent-upload-length")

    def test_too_large(self) -> None:
        """R14: 413 tells the limit."""
        status, told, _ = refusal(errors.MaxSizeExceeded(100), "POST")
        assert (413, "max-size=100") == (status, told["upload-limit"])

    def test_unsupported_patch(self) -> None:
        """RFC 5789: which documents may be appended."""
        status, told, _ = refusal(UnsupportedPatch())
        assert (415, "application/partial-upload") == (status, told["accept-patch"])

    def test_method(self) -> None:
        """405 tells the methods."""
        assert "A, B" == refusal(errors.MethodNotAllowed(("A", "B")))[1]["allow"]

    def test_retry_after(self) -> None:
        """R12: who was cut is told when to come back, and from where."""
        status, told, _ = refusal(errors.ReadTimeout().with_upload(UPLOAD))
        assert (503, "1", "4") == (status, told["retry-after"], told["upload-offset"])

    def test_gone(self) -> None:
        """R11: what is gone is 410 by setting, and 404 up to version 6."""
        assert 410 == refusal(errors.UploadGone())[0]
        assert 404 == refusal(errors.UploadGone(), version=6)[0]
        reply = formatter(8, Limits(gone_status=404)).format_refusal(errors.UploadGone(), plainly("PATCH"))
        assert 404 == reply.status

    @pytest.mark.parametrize("method", ["HEAD", "GET", "DELETE"])
    def test_questions(self, method: str) -> None:
        """No state is told with a refused question: clients take an offset for an answer."""
        _, told, _ = refusal(errors.UploadNotFound().with_upload(UPLOAD), method)
        assert {"upload-offset", "upload-complete"}.isdisjoint(told)

    def test_head_has_no_body(self) -> None:
        """RFC 9110: whatever would be told of a refusal, HEAD has only its status."""
        assert (404, {}, {}) == refusal(errors.UploadNotFound(), "HEAD")

    def test_a_hook_may_refuse_in_its_own_words(self) -> None:
        """What a hook wants told is told, and no longer called a problem document."""
        error = errors.UploadRejected()
        error.override = ResponseOverride(status=402, body="pay")
        reply = formatter(8).format_refusal(error, plainly("POST"))
        assert (402, b"pay") == (reply.status, reply.body)
        assert "text/plain; charset=utf-8" == headers(reply)["content-type"]

    def test_other_failures(self) -> None:
        """What went wrong around the protocol is told in the same form."""
        reply = formatter(8).format_error(507, "ERR_FULL", "no room", plainly("PATCH"), [(b"retry-after", b"9")])
        assert isinstance(reply.body, bytes)
        assert (507, "9") == (reply.status, headers(reply)["retry-after"])
        assert "no room" == json.loads(reply.body)["detail"]

    @pytest.mark.parametrize("error", refusals(), ids=repr)
    def test_every_refusal_has_an_answer(self, error: TusError) -> None:
        """R5: each is a client's or server's fault, in a document, never said to be the finished upload's answer."""
        status, told, document = refusal(error)
        assert 400 <= status <= 599
        assert status == document["status"]
        assert "?0" == told["upload-complete"]
