"""Bytes that come with the POST (rows CU1 to CU8)."""

from __future__ import annotations

import base64
import hashlib

from tests.conformance.case import MUST, POLICY, case
from tests.conformance.client import TUS_TYPE, Tus, chunked, fields
from tests.conformance.expectations import FOUND

_AREA = "creation-with-upload"
_SPEC = (
    "The Server … MUST include the `Upload-Offset` header in the response and MUST set its value to the offset of "
    "the upload after applying the accepted bytes."
)
_LIKE_PATCH = "In this case, similar rules as for the `PATCH` request and response apply."


@case("CU1a", MUST, _AREA, _SPEC)
def the_first_bytes_with_the_post(tus: Tus) -> None:
    """POST with the first bytes is answered 201 with their number, and the upload continues from there."""
    created = tus.post(b"hello", upload_length=11, content_type=TUS_TYPE).expect(201, location=..., upload_offset=5)
    upload = tus.resolve(created.header("Location") or "")
    tus.head(upload).expect(FOUND, upload_offset=5, upload_length=11)
    tus.patch(upload, b" world", upload_offset=5).expect(204, upload_offset=11)
    tus.holds(upload, b"hello world")


@case("CU1b", MUST, _AREA, _SPEC)
def all_bytes_with_the_post(tus: Tus) -> None:
    """POST with all bytes is answered 201 with the length as offset: the upload is complete."""
    created = tus.post(b"hello", upload_length=5, content_type=TUS_TYPE).expect(201, location=..., upload_offset=5)
    upload = tus.resolve(created.header("Location") or "")
    tus.head(upload).expect(FOUND, upload_offset=5, upload_length=5)
    tus.holds(upload, b"hello")


@case("CU1c", POLICY, _AREA, "A stream's first piece has no length either.")
def the_first_bytes_in_chunks(tus: Tus) -> None:
    """POST with a chunked body is answered 201 with the number of its bytes."""
    created = tus.post(chunked(b"he", b"llo"), upload_length=11, content_type=TUS_TYPE).expect(201, upload_offset=5)
    tus.head(tus.resolve(created.header("Location") or "")).expect(FOUND, upload_offset=5)


@case("CU1d", POLICY, _AREA, "tus-js-client asks for the header whenever it sent the type.")
def no_bytes_with_the_type(tus: Tus) -> None:
    """POST with the tus type and no bytes is answered 201 with the offset 0."""
    tus.post(b"", upload_length=5, content_type=TUS_TYPE).expect(201, location=..., upload_offset=0)


@case("CU2", POLICY, _AREA, "Some HTTP stacks force a type of their own on an empty POST.")
def another_type_with_a_body(tus: Tus) -> None:
    """POST with a body of another type creates the upload, ignores the body and returns no offset."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        created = tus.post(b"hello", upload_length=11, content_type=kind).expect(201, location=..., upload_offset=None)
        tus.head(tus.resolve(created.header("Location") or "")).expect(FOUND, upload_offset=0)


@case("CU3a", POLICY, _AREA, "The request cannot succeed, so it is refused before anything is created.")
def a_declared_body_beyond_the_length(tus: Tus) -> None:
    """POST whose `Content-Length` exceeds `Upload-Length` is answered 413 without a `Location`."""
    tus.post(b"hello world", upload_length=5, content_type=TUS_TYPE).expect(413, location=None)


@case("CU3b", POLICY, _AREA, "Bytes beyond the length must not count as a finished upload.")
def chunks_beyond_the_length(tus: Tus) -> None:
    """POST with chunks that exceed `Upload-Length` is answered 413."""
    tus.post(chunked(b"hello", b" world"), upload_length=5, content_type=TUS_TYPE).expect(413)


@case("CU5a", POLICY, _AREA, "Streams of unknown length begin with their first piece.", also=("creation-defer-length",))
def with_a_deferred_length(tus: Tus) -> None:
    """POST with bytes and `Upload-Defer-Length: 1` is answered 201 with their number."""
    created = tus.post(b"hello", upload_defer_length=1, content_type=TUS_TYPE).expect(201, upload_offset=5)
    tus.head(tus.resolve(created.header("Location") or "")).expect(FOUND, upload_offset=5, upload_defer_length=1)


@case("CU5b", POLICY, _AREA, "Parallel uploads save a round trip for each part.", also=("concatenation",))
def as_a_partial_upload(tus: Tus) -> None:
    """POST with bytes and `Upload-Concat: partial` is answered 201 with their number."""
    headers = fields(upload_concat="partial", content_type=TUS_TYPE)
    created = tus.post(b"hello", upload_length=5, **headers).expect(201, upload_offset=5)
    tus.head(tus.resolve(created.header("Location") or "")).expect(FOUND, upload_offset=5, upload_concat="partial")


@case(
    "CU6a",
    POLICY,
    _AREA,
    "the Client SHOULD include the `Expect: 100-continue` header in the request to receive early feedback from the "
    "Server on whether it will accept the creation request",
)
def continue_when_accepted(tus: Tus) -> None:
    """`Expect: 100-continue` on an acceptable POST leads to 201 after the body."""
    line = tus.connect()
    headers = fields(content_type=TUS_TYPE, content_length=5, expect="100-continue")
    line.begin("POST", tus.collection, upload_length=5, **headers).taken_up()
    line.send(b"hello").answer().expect(201, location=..., upload_offset=5)


@case("CU6b", POLICY, _AREA, "RFC 9110: `Expect: 100-continue` exists so that a refusal costs no body.")
def refused_before_the_body(tus: Tus) -> None:
    """A POST that its head alone shows to be invalid is refused without `100 Continue`."""
    right = fields(content_type=TUS_TYPE, content_length=5, upload_length=5)
    for wrong, status in (
        (fields(upload_length="x"), 400),
        (fields(upload_length=3), 413),
        (fields(upload_metadata="a !!!"), 400),
        (fields(tus_resumable="0.2.2"), 412),
    ):
        line = tus.connect().begin("POST", tus.collection, expect="100-continue", **{**right, **wrong})
        refused = line.answer().expect(status, location=None)
        refused.expect_no_continue()


@case("CU8a", POLICY, _AREA, _LIKE_PATCH, also=("checksum",))
def with_a_correct_checksum(tus: Tus) -> None:
    """POST with bytes and their checksum is answered 201."""
    digest = "sha1 " + base64.b64encode(hashlib.sha1(b"hello").digest()).decode()
    headers = fields(upload_checksum=digest, content_type=TUS_TYPE)
    tus.post(b"hello", upload_length=5, **headers).expect(201, location=..., upload_offset=5)


@case("CU8b", POLICY, _AREA, _LIKE_PATCH, also=("checksum",))
def with_a_wrong_checksum(tus: Tus) -> None:
    """POST with bytes and a wrong checksum is answered 460 without a `Location`; an unknown algorithm is 400."""
    digest = base64.b64encode(hashlib.sha1(b"other").digest()).decode()
    kept = fields(content_type=TUS_TYPE)
    tus.post(b"hello", upload_length=5, upload_checksum=f"sha1 {digest}", **kept).expect(460, location=None)
    tus.post(b"hello", upload_length=5, upload_checksum=f"whirl {digest}", **kept).expect(400, location=None)


@case("CU9", POLICY, _AREA, "An upload that is complete does not expire.", also=("expiration",))
def expiry_with_the_201(tus: Tus) -> None:
    """The 201 has `Upload-Expires` if bytes are missing, and not if the upload is complete."""
    tus.post(b"hello", upload_length=11, content_type=TUS_TYPE).expect(201, upload_expires=...)
    tus.post(b"hello", upload_length=5, content_type=TUS_TYPE).expect(201, upload_expires=None)
