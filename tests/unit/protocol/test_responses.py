"""From outcomes and refusals to answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.unit.protocol.test_errors import refusals
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol import errors
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


def headers(reply: Response) -> dict[str, str]:
    """The headers of ``reply``; none may be there twice, and all are such as ASGI wants them."""
    named = [name.decode("ascii") for name, _ in reply.headers]
    assert len(named) == len(set(named))
    assert all(name == name.lower() for name in named)
    return {name.decode("ascii"): value.decode("latin-1") for name, value in reply.headers}


def answer(
    outcome: Outcome, asked: ResponseContext | None = None, formatter: Formatter = FORMATTER
) -> tuple[int, dict[str, str]]:
    reply = formatter.format_outcome(outcome, asked or plainly("X"), "/files/a1")
    told = headers(reply)
    assert told.pop("tus-resumable") == "1.0.0"
    return reply.status, told


def refusal(
    error: TusError, asked: ResponseContext | None = None, formatter: Formatter = FORMATTER
) -> tuple[int, dict[str, str], bytes]:
    reply = formatter.format_refusal(error, asked or plainly("PATCH"))
    told = headers(reply)
    assert told.pop("tus-resumable") == "1.0.0"
    assert told.pop("cache-control") == "no-store"
    assert isinstance(reply.body, bytes)
    return reply.status, told, reply.body


class TestDiscovered:
    def test_everything(self) -> None:
        """What is on is told, in the specification's order; no limit, no Tus-Max-Size."""
        assert answer(Discovered()) == (
            204,
            {
                "tus-version": "1.0.0",
                "tus-extension": "creation,creation-with-upload,creation-defer-length,termination,expiration,checksum,"
                "concatenation,concatenation-unfinished",
                "tus-checksum-algorithm": "sha1,sha256,sha512,md5,crc32",
            },
        )

    def test_what_is_off_is_not_told(self) -> None:
        """Nor what the server below cannot do; and what it can is."""
        off = Limits(creation_with_upload=False, termination=False, concatenation=False)
        assert extensions(off, expiration=False) == ("creation", "creation-defer-length", "checksum")
        assert set(extensions(Limits(), trailers=True)) - set(ON) == {"checksum-trailer"}
        _, told = answer(
            Discovered(), formatter=Formatter(limits=Limits(length_max=5), extensions=(), algorithms=("sha1",))
        )
        assert told == {"tus-version": "1.0.0", "tus-max-size": "5", "tus-checksum-algorithm": "sha1"}


class TestCreated:
    def test_without_a_body(self) -> None:
        """The URL and the time, but no offset: clients take it for the promise that bytes were stored."""
        created = Created(upload=replace(UPLOAD, offset=0), took_body=False)
        assert answer(created) == (201, {"location": "/files/a1", "content-length": "0", "upload-expires": EXPIRY})

    def test_with_a_body(self) -> None:
        """The offset is how much of it was stored."""
        status, told = answer(Created(upload=UPLOAD, took_body=True))
        assert (status, told["upload-offset"]) == (201, "4")

    def test_complete_at_once(self) -> None:
        """It does not expire any more."""
        assert "upload-expires" not in answer(Created(upload=COMPLETE, took_body=True))[1]

    def test_concatenation(self) -> None:
        """Upload-Concat comes back as it was sent."""
        assert answer(Created(upload=PARTIAL, took_body=False))[1]["upload-concat"] == "partial"
        told = answer(Created(upload=FINAL, took_body=False))[1]
        assert told["upload-concat"] == FINAL.concat_header
        assert "upload-offset" not in told

    def test_a_hook_may_say_more(self) -> None:
        """Its status, headers and body are laid over the answer, but never over its framing."""
        overlay = ResponseOverride(
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
        reply = FORMATTER.format_outcome(
            Created(upload=UPLOAD, took_body=False, override=overlay), plainly("POST"), "/a"
        )
        told = headers(reply)
        assert (reply.status, reply.body) == (200, "né".encode())
        assert (told["x-a"], told["location"], told["content-length"]) == ("b", "/other", "3")
        assert not {"transfer-encoding", "bad name", "x-bad", "x-c", "x-snow"} & set(told)

    def test_a_hook_may_say_little(self) -> None:
        """What it leaves out stays as it was."""
        overlay = ResponseOverride(headers={"X-A": "b"})
        created = Created(upload=replace(UPLOAD, expires_at=None), took_body=False, override=overlay)
        assert answer(created) == (201, {"location": "/files/a1", "content-length": "0", "x-a": "b"})


class TestAppended:
    def test_unfinished(self) -> None:
        """The new offset and the time; nothing else, as a 204 has no length."""
        assert answer(Appended(upload=UPLOAD)) == (204, {"upload-offset": "4", "upload-expires": EXPIRY})

    def test_complete(self) -> None:
        """The offset alone."""
        assert answer(Appended(upload=COMPLETE)) == (204, {"upload-offset": "10"})

    def test_a_hook_may_give_it_a_body(self) -> None:
        """With a status that has one; a 204 never has. It is plain text unless the hook says otherwise."""
        mute = Appended(upload=COMPLETE, override=ResponseOverride(body="x"))
        reply = FORMATTER.format_outcome(mute, plainly("PATCH"))
        assert (reply.status, reply.body) == (204, b"")
        assert {"content-length", "content-type"}.isdisjoint(headers(reply))
        speaking = Appended(upload=COMPLETE, override=ResponseOverride(body="x", status=200))
        reply = FORMATTER.format_outcome(speaking, plainly("PATCH"))
        assert (reply.status, reply.body, headers(reply)["content-length"]) == (200, b"x", "1")
        assert headers(reply)["content-type"] == "text/plain; charset=utf-8"
        typed = ResponseOverride(body="{}", status=200, headers={"content-Type": "application/json"})
        reply = FORMATTER.format_outcome(Appended(upload=COMPLETE, override=typed), plainly("PATCH"))
        assert headers(reply)["content-type"] == "application/json"

    def test_a_hook_may_change_the_status_alone(self) -> None:
        """A status that could have a body is told that there is none."""
        reply = FORMATTER.format_outcome(
            Appended(upload=COMPLETE, override=ResponseOverride(status=202)), plainly("PATCH")
        )
        assert (reply.status, reply.body, headers(reply)["content-length"]) == (202, b"", "0")


class TestInspected:
    def test_unfinished(self) -> None:
        """Offset, length, time and metadata as it came; never cached, without a length of its own."""
        assert answer(Inspected(upload=UPLOAD), plainly("HEAD")) == (
            200,
            {
                "cache-control": "no-store",
                "upload-offset": "4",
                "upload-length": "10",
                "upload-metadata": "b /w==, a",
                "upload-expires": EXPIRY,
            },
        )

    def test_deferred(self) -> None:
        """The header that says so stands in for the length."""
        told = answer(Inspected(upload=DEFERRED))[1]
        assert told["upload-defer-length"] == "1"
        assert "upload-length" not in told

    def test_a_partial_upload(self) -> None:
        """Is told to be one."""
        assert answer(Inspected(upload=PARTIAL))[1]["upload-concat"] == "partial"

    def test_a_final_upload(self) -> None:
        """Has no offset until it is made; then it equals the length."""
        told = answer(Inspected(upload=FINAL))[1]
        assert told["upload-concat"] == FINAL.concat_header
        assert told["upload-length"] == "10"
        assert "upload-offset" not in told
        made = replace(FINAL, offset=10, completed_at=NOW)
        assert answer(Inspected(upload=made))[1]["upload-offset"] == "10"

    def test_complete(self) -> None:
        """What GET says of it is said here too, but for the length and the caching."""
        upload = replace(COMPLETE, metadata_header="filetype aW1hZ2UvcG5n")
        got = answer(Downloaded(upload=upload, start=0, stop=10, partial=False, body=stream()), plainly("GET"))[1]
        told = answer(Inspected(upload=upload), plainly("HEAD"))[1]
        assert "upload-expires" not in told
        assert told["etag"] == format_etag(upload)
        assert told["cache-control"] == "no-store"
        for name in set(got) - {"content-length", "cache-control"}:
            assert told[name] == got[name]

    def test_complete_where_nobody_may_download(self) -> None:
        """There is no GET to be consistent with."""
        closed = Formatter(limits=Limits(downloads=False), extensions=ON)
        assert "etag" not in answer(Inspected(upload=COMPLETE), plainly("HEAD"), closed)[1]

    @pytest.mark.parametrize("real_method", ["GET", "POST", "DELETE"])
    def test_overridden(self, real_method: str) -> None:
        """The client's HTTP stack knows only the real method and would wait for a body."""
        told = answer(Inspected(upload=UPLOAD), ResponseContext("HEAD", real_method))[1]
        assert told["content-length"] == "0"
        assert told["cache-control"] == "no-store"


async def stream() -> AsyncGenerator[bytes, None]:
    yield b"x"


class TestDownloaded:
    def test_whole(self) -> None:
        """200, with everything that says what it is."""
        body = stream()
        downloaded = Downloaded(upload=COMPLETE, start=0, stop=10, partial=False, body=body)
        reply = FORMATTER.format_outcome(downloaded, plainly("GET"))
        assert (reply.status, reply.body) == (200, body)
        assert headers(reply) == {
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

    def test_a_part(self) -> None:
        """206 tells which, of how many; of an unfinished upload, of how many there are."""
        status, told = answer(Downloaded(upload=COMPLETE, start=3, stop=7, partial=True, body=stream()))
        assert (status, told["content-range"], told["content-length"]) == (206, "bytes 3-6/10", "4")
        status, told = answer(Downloaded(upload=UPLOAD, start=3, stop=4, partial=True, body=stream()))
        assert (status, told["content-range"]) == (206, "bytes 3-3/4")

    def test_not_modified(self) -> None:
        """304 carries what the client compares, and nothing about the body."""
        status, told = answer(Downloaded(upload=COMPLETE, start=0, stop=0, partial=False, body=None))
        assert status == 304
        assert set(told) == {"etag", "last-modified", "cache-control"}


def test_terminated() -> None:
    """204 exactly: tus-js-client takes nothing else for success."""
    ended = replace(UPLOAD, status=Status.TERMINATED)
    assert answer(Terminated(upload=ended)) == (204, {})


def test_an_ended_upload_does_not_expire() -> None:
    """Its expires_at is when its tombstone is forgotten: nothing for the client."""
    ended = replace(UPLOAD, status=Status.TERMINATED)
    assert "upload-expires" not in answer(Inspected(upload=ended))[1]


@pytest.mark.parametrize(
    "asked",
    [
        ResponseContext("PATCH", "POST"),
        ResponseContext("DELETE", "POST"),
        ResponseContext("POST", "PUT"),
        ResponseContext("OPTIONS", "GET"),
    ],
)
def test_overridden_answers_are_not_cached(asked: ResponseContext) -> None:
    """A cache in between knows only the real method."""
    outcomes: dict[str, Outcome] = {
        "PATCH": Appended(upload=UPLOAD),
        "DELETE": Terminated(upload=UPLOAD),
        "POST": Created(upload=UPLOAD, took_body=True),
        "OPTIONS": Discovered(),
    }
    outcome = outcomes[asked.method]
    assert answer(outcome, asked)[1]["cache-control"] == "no-store"
    assert "cache-control" not in answer(outcome, plainly(asked.method))[1]


class TestRefusals:
    @pytest.mark.parametrize("error", refusals(), ids=repr)
    def test_the_body_is_for_people(self, error: TusError) -> None:
        """Code and sentence on one line of text, as tusd has it, framed."""
        status, told, body = refusal(error)
        assert status == error.status
        assert body == f"{error.code}: {error}\n".encode()
        assert told["content-type"] == "text/plain; charset=utf-8"
        assert told["content-length"] == str(len(body))
        assert "location" not in told

    @pytest.mark.parametrize("error", refusals(), ids=repr)
    def test_head_has_no_body(self, error: TusError) -> None:
        """Nor an offset, which tus-py-client would take for success."""
        _, told, body = refusal(error.with_upload(UPLOAD), plainly("HEAD"))
        assert body == b""
        assert not {"content-type", "content-length", "upload-offset", "upload-expires"} & set(told)

    def test_an_overridden_head(self) -> None:
        """Ends where the real method's reader expects it to."""
        _, told, body = refusal(errors.UploadNotFound(), ResponseContext("HEAD", "POST"))
        assert (body, told["content-length"]) == (b"", "0")
        _, told, body = refusal(errors.UploadNotFound(), ResponseContext("PATCH", "HEAD"))
        assert body == b""
        assert "content-length" not in told

    @pytest.mark.parametrize(
        "error", [errors.OffsetMismatch(4, 0), errors.ChecksumMismatch(), errors.LengthExceeded(10)]
    )
    def test_how_the_upload_stands(self, error: TusError) -> None:
        """Told where it is known: some clients correct themselves from it."""
        _, told, _ = refusal(error.with_upload(UPLOAD))
        assert (told["upload-offset"], told["upload-expires"]) == ("4", EXPIRY)
        assert "upload-offset" not in refusal(errors.FinalUploadModified().with_upload(FINAL))[1]

    def test_facts(self) -> None:
        """Some refusals owe the client a header."""
        assert refusal(errors.UnsupportedVersion("0.2.2"))[1]["tus-version"] == "1.0.0"
        assert refusal(errors.MethodNotAllowed(("POST", "OPTIONS")))[1]["allow"] == "POST, OPTIONS"
        assert refusal(errors.MaxSizeExceeded(7))[1]["tus-max-size"] == "7"
        assert refusal(errors.RangeNotSatisfiable(7))[1]["content-range"] == "bytes */7"
        assert refusal(errors.ServerShutdown())[1]["retry-after"] == str(errors.ServerShutdown.retry_after_seconds)
        assert "tus-version" not in refusal(errors.PreconditionFailed())[1]
        assert "retry-after" not in refusal(errors.UploadNotFound())[1]

    def test_gone_or_not_found(self) -> None:
        """tus-java-client starts anew only on 404, so the operator may choose."""
        assert refusal(errors.UploadGone())[0] == 410
        lenient = Formatter(limits=Limits(gone_status=404), extensions=ON)
        assert refusal(errors.UploadGone(), formatter=lenient)[0] == 404

    def test_a_hook_may_say_it_otherwise(self) -> None:
        """Status, headers and body of its own, the offset still there."""
        error = errors.UploadStopped().with_upload(UPLOAD)
        error.override = ResponseOverride(status=402, headers={"Content-Type": "application/json"}, body="{}")
        status, told, body = refusal(error)
        assert (status, body) == (402, b"{}")
        assert (told["content-type"], told["content-length"], told["upload-offset"]) == ("application/json", "2", "4")

    def test_what_is_not_of_the_protocol(self) -> None:
        """Faults around it look the same to the client."""
        reply = FORMATTER.format_error(423, "ERR_LOCK_TIMEOUT", "try again", plainly("PATCH"), [(b"retry-after", b"1")])
        assert (reply.status, reply.body) == (423, b"ERR_LOCK_TIMEOUT: try again\n")
        assert headers(reply)["retry-after"] == "1"
