"""From outcomes and refusals to answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.unit.protocol.test_errors import all_errors
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol import concat_errors, errors
from tusd_py.protocol.downloads import format_etag
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
from tusd_py.protocol.responses import Formatter, Response, ResponseContext, extensions
from tusd_py.protocol.rules import Limits

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
EXPIRES = datetime(2026, 1, 8, 12, tzinfo=UTC)
EXPIRY = "Thu, 08 Jan 2026 12:00:00 GMT"
UPLOAD = Upload(
    id="a1", length=10, offset=4, created_at=NOW, updated_at=NOW, expires_at=EXPIRES, metadata_header="b /w==, a"
)
COMPLETE = replace(UPLOAD, offset=10, completed_at=NOW, status=Status.READY)
DEFERRED = replace(UPLOAD, length=None)
PARTIAL = replace(UPLOAD, kind=Kind.PARTIAL, concat_header="partial")
FINAL = replace(
    UPLOAD, kind=Kind.FINAL, offset=0, concat_header="final;/files/b http://x/files/c", metadata_header=None
)

ON = extensions(Limits())
FORMATTER = Formatter(limits=Limits(), extensions=ON, inline_types=frozenset({"image/png"}))


def plainly(method: str) -> ResponseContext:
    return ResponseContext(method, method)


def headers(response: Response) -> dict[str, str]:
    """The headers of ``response``; asserts unique names that are valid in ASGI."""
    named = [name.decode("ascii") for name, _ in response.headers]
    assert len(named) == len(set(named))
    assert all(name == name.lower() for name in named)
    return {name.decode("ascii"): value.decode("latin-1") for name, value in response.headers}


def formatted(
    outcome: Outcome, context: ResponseContext | None = None, formatter: Formatter = FORMATTER
) -> tuple[int, dict[str, str]]:
    response = formatter.format_outcome(outcome, context or plainly("X"), "/files/a1")
    sent = headers(response)
    assert sent.pop("tus-resumable") == "1.0.0"
    return response.status, sent


def refusal(
    error: TusError, context: ResponseContext | None = None, formatter: Formatter = FORMATTER
) -> tuple[int, dict[str, str], bytes]:
    response = formatter.format_refusal(error, context or plainly("PATCH"))
    sent = headers(response)
    assert sent.pop("tus-resumable") == "1.0.0"
    assert sent.pop("cache-control") == "no-store"
    assert isinstance(response.body, bytes)
    return response.status, sent, response.body


class TestDiscovered:
    def test_all_extensions(self) -> None:
        """Enabled extensions are listed in the order of the specification; without a limit there is no Tus-Max-Size."""
        assert formatted(Discovered()) == (
            204,
            {
                "tus-version": "1.0.0",
                "tus-extension": "creation,creation-with-upload,creation-defer-length,termination,expiration,checksum,"
                "concatenation,concatenation-unfinished",
                "tus-checksum-algorithm": "sha1,sha256,sha512,md5,crc32",
            },
        )

    def test_disabled_extensions(self) -> None:
        """Disabled extensions are not listed; checksum-trailer depends on the HTTP server."""
        off = Limits(creation_with_upload=False, termination=False, concatenation=False)
        assert extensions(off, expiration=False) == ("creation", "creation-defer-length", "checksum")
        assert set(extensions(Limits(), trailers=True)) - set(ON) == {"checksum-trailer"}
        _, sent = formatted(
            Discovered(), formatter=Formatter(limits=Limits(length_max=5), extensions=(), algorithms=("sha1",))
        )
        assert sent == {"tus-version": "1.0.0", "tus-max-size": "5", "tus-checksum-algorithm": "sha1"}


class TestCreated:
    def test_created_without_body_201(self) -> None:
        """There are URL and expiry but no offset: clients would take it as the promise that bytes were stored."""
        created = Created(upload=replace(UPLOAD, offset=0), took_body=False)
        assert formatted(created) == (201, {"location": "/files/a1", "content-length": "0", "upload-expires": EXPIRY})

    def test_created_with_body_201(self) -> None:
        """The offset is the number of stored bytes."""
        status, sent = formatted(Created(upload=UPLOAD, took_body=True))
        assert (status, sent["upload-offset"]) == (201, "4")

    def test_created_complete(self) -> None:
        """A complete upload does not expire."""
        assert "upload-expires" not in formatted(Created(upload=COMPLETE, took_body=True))[1]

    def test_created_concat(self) -> None:
        """Upload-Concat is echoed."""
        assert formatted(Created(upload=PARTIAL, took_body=False))[1]["upload-concat"] == "partial"
        sent = formatted(Created(upload=FINAL, took_body=False))[1]
        assert sent["upload-concat"] == FINAL.concat_header
        assert "upload-offset" not in sent

    def test_hook_sets_status_headers_and_body_but_not_the_framing(self) -> None:
        """A hook may set status, headers and body, but not the framing."""
        override = ResponseOverride(
            status=200,
            headers={
                "X-A": "b",
                "Location": "/other",
                "Content-Length": "99",
                "Transfer-Encoding": "chunked",
                "Bad name": "x",
                "X-Bad": "a\r\nX-C: d",
                "X-Snow": "☃",
            },
            body="né",
        )
        response = FORMATTER.format_outcome(
            Created(upload=UPLOAD, took_body=False, override=override), plainly("POST"), "/a"
        )
        sent = headers(response)
        assert (response.status, response.body) == (200, "né".encode())
        assert (sent["x-a"], sent["location"], sent["content-length"]) == ("b", "/other", "3")
        assert not {"transfer-encoding", "bad name", "x-bad", "x-c", "x-snow"} & set(sent)

    def test_partial_override(self) -> None:
        """What the hook does not set stays unchanged."""
        override = ResponseOverride(headers={"X-A": "b"})
        created = Created(upload=replace(UPLOAD, expires_at=None), took_body=False, override=override)
        assert formatted(created) == (201, {"location": "/files/a1", "content-length": "0", "x-a": "b"})


class TestAppended:
    def test_appended_unfinished_204(self) -> None:
        """There are the new offset and the expiry; a 204 has no length."""
        assert formatted(Appended(upload=UPLOAD)) == (204, {"upload-offset": "4", "upload-expires": EXPIRY})

    def test_appended_complete_204(self) -> None:
        """There is only the offset."""
        assert formatted(Appended(upload=COMPLETE)) == (204, {"upload-offset": "10"})

    def test_override_body(self) -> None:
        """A body needs a status other than 204. It is plain text unless the hook sets a type."""
        mute = Appended(upload=COMPLETE, override=ResponseOverride(body="x"))
        response = FORMATTER.format_outcome(mute, plainly("PATCH"))
        assert (response.status, response.body) == (204, b"")
        assert {"content-length", "content-type"}.isdisjoint(headers(response))
        speaking = Appended(upload=COMPLETE, override=ResponseOverride(body="x", status=200))
        response = FORMATTER.format_outcome(speaking, plainly("PATCH"))
        assert (response.status, response.body, headers(response)["content-length"]) == (200, b"x", "1")
        assert headers(response)["content-type"] == "text/plain; charset=utf-8"
        typed = ResponseOverride(body="{}", status=200, headers={"content-Type": "application/json"})
        response = FORMATTER.format_outcome(Appended(upload=COMPLETE, override=typed), plainly("PATCH"))
        assert headers(response)["content-type"] == "application/json"

    def test_override_status(self) -> None:
        """A status that may have a body gets Content-Length: 0."""
        response = FORMATTER.format_outcome(
            Appended(upload=COMPLETE, override=ResponseOverride(status=202)), plainly("PATCH")
        )
        assert (response.status, response.body, headers(response)["content-length"]) == (202, b"", "0")


class TestInspected:
    def test_inspected_unfinished(self) -> None:
        """Offset, length, expiry and metadata as received; not cacheable, without Content-Length."""
        assert formatted(Inspected(upload=UPLOAD), plainly("HEAD")) == (
            200,
            {
                "cache-control": "no-store",
                "upload-offset": "4",
                "upload-length": "10",
                "upload-metadata": "b /w==, a",
                "upload-expires": EXPIRY,
            },
        )

    def test_inspected_deferred(self) -> None:
        """Upload-Defer-Length replaces the length."""
        sent = formatted(Inspected(upload=DEFERRED))[1]
        assert sent["upload-defer-length"] == "1"
        assert "upload-length" not in sent

    def test_inspected_partial(self) -> None:
        """Upload-Concat is echoed."""
        assert formatted(Inspected(upload=PARTIAL))[1]["upload-concat"] == "partial"

    def test_inspected_final(self) -> None:
        """There is no offset until concatenation is done; then it equals the length."""
        sent = formatted(Inspected(upload=FINAL))[1]
        assert sent["upload-concat"] == FINAL.concat_header
        assert sent["upload-length"] == "10"
        assert "upload-offset" not in sent
        made = replace(FINAL, offset=10, completed_at=NOW)
        assert formatted(Inspected(upload=made))[1]["upload-offset"] == "10"

    def test_inspected_complete(self) -> None:
        """The headers are those of GET, except for length and caching."""
        upload = replace(COMPLETE, metadata_header="filetype aW1hZ2UvcG5n")
        got = formatted(Downloaded(upload=upload, start=0, stop=10, partial=False, body=stream()), plainly("GET"))[1]
        sent = formatted(Inspected(upload=upload), plainly("HEAD"))[1]
        assert "upload-expires" not in sent
        assert sent["etag"] == format_etag(upload)
        assert sent["cache-control"] == "no-store"
        for name in set(got) - {"content-length", "cache-control"}:
            assert sent[name] == got[name]

    def test_inspected_without_downloads(self) -> None:
        """With downloads disabled there is no GET to match."""
        closed = Formatter(limits=Limits(downloads=False), extensions=ON)
        assert "etag" not in formatted(Inspected(upload=COMPLETE), plainly("HEAD"), closed)[1]

    @pytest.mark.parametrize("real_method", ["GET", "POST", "DELETE"])
    def test_inspected_by_override(self, real_method: str) -> None:
        """The client's HTTP stack knows only the real method and would wait for a body."""
        sent = formatted(Inspected(upload=UPLOAD), ResponseContext("HEAD", real_method))[1]
        assert sent["content-length"] == "0"
        assert sent["cache-control"] == "no-store"


async def stream() -> AsyncGenerator[bytes, None]:
    yield b"x"


class TestDownloaded:
    def test_download_200(self) -> None:
        """All headers that describe the content are present."""
        body = stream()
        downloaded = Downloaded(upload=COMPLETE, start=0, stop=10, partial=False, body=body)
        response = FORMATTER.format_outcome(downloaded, plainly("GET"))
        assert (response.status, response.body) == (200, body)
        assert headers(response) == {
            "tus-resumable": "1.0.0",
            "etag": format_etag(COMPLETE),
            "last-modified": "Thu, 01 Jan 2026 12:00:00 GMT",
            "cache-control": "private, no-cache",
            "accept-ranges": "bytes",
            "x-content-type-options": "nosniff",
            "content-type": "application/octet-stream",
            "content-disposition": "attachment",
            "content-length": "10",
        }

    def test_download_range_206(self) -> None:
        """Content-Range has the range and the total; for an unfinished upload the stored bytes are the total."""
        status, sent = formatted(Downloaded(upload=COMPLETE, start=3, stop=7, partial=True, body=stream()))
        assert (status, sent["content-range"], sent["content-length"]) == (206, "bytes 3-6/10", "4")
        status, sent = formatted(Downloaded(upload=UPLOAD, start=3, stop=4, partial=True, body=stream()))
        assert (status, sent["content-range"]) == (206, "bytes 3-3/4")

    def test_download_not_modified_304(self) -> None:
        """A 304 has the validator fields and nothing about the body."""
        status, sent = formatted(Downloaded(upload=COMPLETE, start=0, stop=0, partial=False, body=None))
        assert status == 304
        assert set(sent) == {"etag", "last-modified", "cache-control"}


def test_terminated_204() -> None:
    """Exactly 204: tus-js-client accepts no other status."""
    ended = replace(UPLOAD, status=Status.TERMINATED)
    assert formatted(Terminated(upload=ended)) == (204, {})


def test_terminated_upload_has_no_expiry() -> None:
    """Its expires_at is the time of the deletion of its record, which does not concern the client."""
    ended = replace(UPLOAD, status=Status.TERMINATED)
    assert "upload-expires" not in formatted(Inspected(upload=ended))[1]


@pytest.mark.parametrize(
    "context",
    [
        ResponseContext("PATCH", "POST"),
        ResponseContext("DELETE", "POST"),
        ResponseContext("POST", "PUT"),
        ResponseContext("OPTIONS", "GET"),
    ],
)
def test_overridden_responses_are_not_cached(context: ResponseContext) -> None:
    """A cache knows only the real method."""
    outcomes: dict[str, Outcome] = {
        "PATCH": Appended(upload=UPLOAD),
        "DELETE": Terminated(upload=UPLOAD),
        "POST": Created(upload=UPLOAD, took_body=True),
        "OPTIONS": Discovered(),
    }
    outcome = outcomes[context.method]
    assert formatted(outcome, context)[1]["cache-control"] == "no-store"
    assert "cache-control" not in formatted(outcome, plainly(context.method))[1]


class TestRefusals:
    @pytest.mark.parametrize("error", all_errors(), ids=repr)
    def test_error_body(self, error: TusError) -> None:
        """Code and message on one line of plain text, as in tusd."""
        status, sent, body = refusal(error)
        assert status == error.status
        assert body == f"{error.code}: {error}\n".encode()
        assert sent["content-type"] == "text/plain; charset=utf-8"
        assert sent["content-length"] == str(len(body))
        assert "location" not in sent

    @pytest.mark.parametrize("error", all_errors(), ids=repr)
    def test_error_on_head(self, error: TusError) -> None:
        """There is no body, and no offset, which tus-py-client would take as success."""
        _, sent, body = refusal(error.with_upload(UPLOAD), plainly("HEAD"))
        assert body == b""
        assert not {"content-type", "content-length", "upload-offset", "upload-expires"} & set(sent)

    def test_error_on_overridden_head(self) -> None:
        """The framing is that of the real method."""
        _, sent, body = refusal(errors.UploadNotFound(), ResponseContext("HEAD", "POST"))
        assert (body, sent["content-length"]) == (b"", "0")
        _, sent, body = refusal(errors.UploadNotFound(), ResponseContext("PATCH", "HEAD"))
        assert body == b""
        assert "content-length" not in sent

    @pytest.mark.parametrize(
        "error", [errors.OffsetMismatch(4, 0), errors.ChecksumMismatch(), errors.LengthExceeded(10)]
    )
    def test_error_with_offset(self, error: TusError) -> None:
        """The offset is included if it is known: some clients correct themselves with it."""
        _, sent, _ = refusal(error.with_upload(UPLOAD))
        assert (sent["upload-offset"], sent["upload-expires"]) == ("4", EXPIRY)
        assert "upload-offset" not in refusal(concat_errors.FinalUploadModified().with_upload(FINAL))[1]

    def test_error_headers(self) -> None:
        """Some errors require a header."""
        assert refusal(errors.UnsupportedVersion("0.2.2"))[1]["tus-version"] == "1.0.0"
        assert refusal(errors.MethodNotAllowed(("POST", "OPTIONS")))[1]["allow"] == "POST, OPTIONS"
        assert refusal(errors.MaxSizeExceeded(7))[1]["tus-max-size"] == "7"
        assert refusal(errors.RangeNotSatisfiable(7))[1]["content-range"] == "bytes */7"
        assert refusal(errors.ServerShutdown())[1]["retry-after"] == str(errors.ServerShutdown.retry_after_seconds)
        assert "tus-version" not in refusal(errors.PreconditionFailed())[1]
        assert "retry-after" not in refusal(errors.UploadNotFound())[1]

    def test_gone_404_or_410(self) -> None:
        """tus-java-client starts over only after 404, so the operator may choose."""
        assert refusal(errors.UploadGone())[0] == 410
        lenient = Formatter(limits=Limits(gone_status=404), extensions=ON)
        assert refusal(errors.UploadGone(), formatter=lenient)[0] == 404

    def test_error_override(self) -> None:
        """A hook may set status, headers and body; the offset stays."""
        error = errors.UploadStopped().with_upload(UPLOAD)
        error.override = ResponseOverride(status=402, headers={"Content-Type": "application/json"}, body="{}")
        status, sent, body = refusal(error)
        assert (status, body) == (402, b"{}")
        assert (sent["content-type"], sent["content-length"], sent["upload-offset"]) == ("application/json", "2", "4")

    def test_format_error(self) -> None:
        """Errors outside the protocol have the same format."""
        response = FORMATTER.format_error(
            423, "ERR_LOCK_TIMEOUT", "try again", plainly("PATCH"), [(b"retry-after", b"1")]
        )
        assert (response.status, response.body) == (423, b"ERR_LOCK_TIMEOUT: try again\n")
        assert headers(response)["retry-after"] == "1"
