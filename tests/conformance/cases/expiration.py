"""`Upload-Expires` and what happens then (rows EX1 to EX4, H5, H9)."""

from __future__ import annotations

import time

from tests.conformance.case import MUST, POLICY, SHOULD, Limit, case
from tests.conformance.client import Tus, chunked
from tests.conformance.dialogue import Exchange
from tests.conformance.expectations import FOUND, GONE, matching

_AREA = "expiration"
_DATE = matching(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT",
    "like Wed, 25 Jun 2014 16:00:00 GMT",
)
_EVERY_PATCH = "This header MUST be included in every `PATCH` response if the upload is going to expire."
_GONE = (
    "If a Client does attempt to resume an upload which has since been removed by the Server, the Server SHOULD "
    "respond with the `404 Not Found` or `410 Gone` status."
)


@case(
    "EX1a",
    MUST,
    _AREA,
    "If the expiration is known at the creation, the `Upload-Expires` header MUST be included in the response to "
    "the initial `POST` request.",
)
def expiry_at_creation(tus: Tus) -> None:
    """The 201 of an upload that will expire has `Upload-Expires`."""
    tus.post(upload_length=10).expect(201, upload_expires=...)


@case("EX1b", MUST, _AREA, _EVERY_PATCH)
def expiry_on_patch(tus: Tus) -> None:
    """The 204 of a PATCH on an unfinished upload has `Upload-Expires`."""
    upload = tus.create(10)
    tus.patch(upload, b"hello", upload_offset=0).expect(204, upload_expires=...)
    tus.patch(upload, b"", upload_offset=5).expect(204, upload_expires=...)


@case("EX1c", MUST, _AREA, "The value of the `Upload-Expires` header MUST be in RFC 9110 datetime format.")
def expiry_is_an_http_date(tus: Tus) -> None:
    """`Upload-Expires` is an HTTP date in GMT."""
    created = tus.post(upload_length=10)
    created.expect(201, upload_expires=_DATE)
    upload = tus.resolve(created.header("Location") or "")
    tus.patch(upload, b"hello", upload_offset=0).expect(204, upload_expires=_DATE)


@case("EX1d", MUST, _AREA, _EVERY_PATCH)
def expiry_on_refusals(tus: Tus) -> None:
    """The responses to refused PATCHes on an unfinished upload (409, 413, 415) have `Upload-Expires` too."""
    upload = tus.create(10, b"hello")
    tus.patch(upload, b"x", upload_offset=3).expect(409, upload_expires=...)
    tus.patch(upload, b"too much", upload_offset=5).expect(range(400, 500), upload_expires=...)
    tus.patch(upload, b"x", upload_offset=5, content_type="text/plain").expect(range(400, 500), upload_expires=...)


@case("EX2a", POLICY, _AREA, "The header is the expiry of an *unfinished* upload.")
def no_expiry_when_complete(tus: Tus) -> None:
    """A complete upload has no `Upload-Expires`: on the last 204, on HEAD, on an empty PATCH, on an empty upload's
    201."""
    upload = tus.create(5)
    tus.patch(upload, b"hello", upload_offset=0).expect(204, upload_expires=None)
    tus.head(upload).expect(FOUND, upload_expires=None)
    tus.patch(upload, b"", upload_offset=5).expect(204, upload_expires=None)
    tus.post(upload_length=0).expect(201, upload_expires=None)


@case("EX2b", POLICY, _AREA, "The Server MAY remove *unfinished* uploads once they expire.", needs=Limit.EXPIRY)
def complete_uploads_do_not_expire(tus: Tus) -> None:
    """A complete upload still exists after its expiry time."""
    upload = tus.create(5, b"hello")
    witness = tus.create(5)
    _await_expiry(tus, witness)
    tus.head(upload).expect(FOUND, upload_offset=5, upload_length=5)
    tus.holds(upload, b"hello")


@case("EX3", POLICY, _AREA, "The client is not idle; the upload is not abandoned.", needs=Limit.EXPIRY)
def no_expiry_under_a_running_patch(tus: Tus) -> None:
    """A PATCH that takes longer than the lifetime is not interrupted, and its bytes are kept."""
    lives = tus.subject.expires_seconds or 0
    upload = tus.create(1000)
    stream = tus.begin_patch(upload, transfer_encoding="chunked", upload_offset=0)
    started = time.monotonic()
    while time.monotonic() - started < lives + 1.5:
        stream.wire.send(b"1\r\nx\r\n")
        time.sleep(0.1)  # a slow client is what this is about
    observed = stream.end().answer().expect(204).number("Upload-Offset")
    tus.head(upload).expect(FOUND, upload_offset=observed)


@case("EX4a", SHOULD, _AREA, _GONE, needs=Limit.EXPIRY)
def gone_after_expiry(tus: Tus) -> None:
    """An expired upload is answered 404 or 410 on HEAD, without `Upload-Offset`, and on PATCH."""
    upload = tus.create(10, b"hello")
    _await_expiry(tus, upload).expect(GONE, upload_offset=None)
    tus.patch(upload, b"world", upload_offset=5).expect(GONE, upload_offset=None)
    tus.head(upload).expect(GONE, upload_offset=None)


@case(
    "EX4b",
    SHOULD,
    _AREA,
    "The latter one SHOULD be used if the Server is keeping track of expired uploads.",
    needs=Limit.EXPIRY,
)
def expired_or_unknown(tus: Tus) -> None:
    """An expired upload is answered 410 and an unknown one 404; or both 404, if the server keeps no record."""
    upload = tus.create(10)
    gone = _await_expiry(tus, upload)
    unknown = tus.head(tus.unknown()).expect(404)
    gone.check("410 (404 if not tracked)", gone.status, gone.status == 410 or gone.status == unknown.status)


@case(
    "EX4c",
    POLICY,
    _AREA,
    "An upload must not return after a client received the response that it is gone.",
    needs=Limit.EXPIRY,
)
def no_patch_after_expiry(tus: Tus) -> None:
    """A PATCH after expiry does not restore the upload."""
    upload = tus.create(5)
    _await_expiry(tus, upload).expect(GONE)
    for body in (b"hello", b"", chunked(b"hello")):
        tus.patch(upload, body, upload_offset=0).expect(GONE)
    tus.head(upload).expect(GONE, upload_offset=None)


@case("H9", POLICY, _AREA, "Clients decide to resume by HEAD; it is there that they should see how long.")
def expiry_on_head(tus: Tus) -> None:
    """HEAD on an unfinished upload that will expire has `Upload-Expires`."""
    tus.head(tus.create(10)).expect(FOUND, upload_expires=_DATE)


def _await_expiry(tus: Tus, upload: str) -> Exchange:
    """Wait until the time that the server reported, then poll until the upload is gone, at most two seconds more."""
    time.sleep(max(0.0, tus.subject.expires_seconds or 0.0))
    return tus.eventually(lambda: tus.head(upload), lambda got: got.status in GONE, 3.5).expect(GONE)
