"""Uploads whose length comes later (rows H2, DL1 to DL8, D4)."""

from __future__ import annotations

from tests.conformance.case import MUST, POLICY, Limit, case
from tests.conformance.client import Tus, chunked
from tests.conformance.expectations import FOUND, REFUSED, at_most

_AREA = "creation-defer-length"
_UNKNOWN = (
    "As long as the length of the upload is not known, the Server MUST set `Upload-Defer-Length: 1` in all "
    "responses to `HEAD` requests."
)
_ONCE = "Once set the length MUST NOT be changed."


@case("H2", MUST, _AREA, _UNKNOWN)
def head_returns_the_deferral(tus: Tus) -> None:
    """HEAD returns `Upload-Defer-Length: 1` and no `Upload-Length` while the length is unknown, at any offset."""
    upload = tus.create(upload_defer_length=1)
    tus.head(upload).expect(FOUND, upload_offset=0, upload_defer_length=1, upload_length=None)
    tus.patch(upload, b"hello", upload_offset=0).expect(204)
    tus.head(upload).expect(FOUND, upload_offset=5, upload_defer_length=1, upload_length=None)


@case(
    "DL1a",
    MUST,
    _AREA,
    "If the Server supports deferring length, it MUST add `creation-defer-length` to the `Tus-Extension` header.",
)
def a_deferred_creation(tus: Tus) -> None:
    """POST with `Upload-Defer-Length: 1` is answered 201."""
    tus.post(upload_defer_length=1).expect(201, location=...)


@case(
    "DL1b",
    MUST,
    _AREA,
    "If the `Upload-Defer-Length` header contains any other value than `1` the server should return a `400 Bad "
    "Request` status.",
)
def another_deferral(tus: Tus) -> None:
    """`Upload-Defer-Length` with any other value is answered 400."""
    for value in ("0", "2", "true", "01", "1.0", "-1", ""):
        tus.post(upload_defer_length=value).expect(400, location=None)


@case("DL2", MUST, _AREA, _UNKNOWN)
def appending_without_a_length(tus: Tus) -> None:
    """PATCH without a length appends, any number of times."""
    upload = tus.create(upload_defer_length=1)
    tus.patch(upload, b"hello", upload_offset=0).expect(204, upload_offset=5)
    tus.patch(upload, chunked(b" wor", b"ld"), upload_offset=5).expect(204, upload_offset=11)
    tus.head(upload).expect(FOUND, upload_offset=11, upload_defer_length=1)


@case(
    "DL3",
    MUST,
    _AREA,
    "the Client MUST set the `Upload-Length` header in the next `PATCH` request, once the length is known.",
)
def the_length_comes_with_a_patch(tus: Tus) -> None:
    """PATCH with `Upload-Length` declares the length, which HEAD then returns instead of the deferral."""
    upload = tus.create(upload_defer_length=1)
    tus.patch(upload, b"hello", upload_offset=0, upload_length=10).expect(204, upload_offset=5)
    tus.head(upload).expect(FOUND, upload_offset=5, upload_length=10, upload_defer_length=None)
    tus.patch(upload, b"world", upload_offset=5).expect(204, upload_offset=10)
    tus.holds(upload, b"helloworld")


@case("DL4a", MUST, _AREA, _ONCE)
def the_length_does_not_change(tus: Tus) -> None:
    """PATCH with a length other than the declared one is refused and changes nothing."""
    upload = tus.create(upload_defer_length=1)
    tus.patch(upload, b"hello", upload_offset=0, upload_length=10).expect(204)
    tus.patch(upload, b"world", upload_offset=5, upload_length=20).expect(REFUSED)
    tus.head(upload).expect(FOUND, upload_offset=5, upload_length=10)


@case("DL4b", POLICY, _AREA, "tus-py-client repeats the length when it retries; refused, its upload would be stuck.")
def the_same_length_again(tus: Tus) -> None:
    """PATCH that repeats the declared length is accepted, another is 400; likewise for a length set at creation."""
    deferred = tus.create(upload_defer_length=1)
    tus.patch(deferred, b"hello", upload_offset=0, upload_length=10).expect(204)
    tus.patch(deferred, b"x", upload_offset=5, upload_length=11).expect(400)
    tus.patch(deferred, b"world", upload_offset=5, upload_length=10).expect(204, upload_offset=10)
    plain = tus.create(10)
    tus.patch(plain, b"hello", upload_offset=0, upload_length=11).expect(400)
    tus.patch(plain, b"hello", upload_offset=0, upload_length=10).expect(204, upload_offset=5)


@case("DL5a", POLICY, _AREA, "A length that was stored and then refused makes the upload unfinishable.")
def a_length_below_the_offset(tus: Tus) -> None:
    """A length below the offset is answered 400 and not stored: a valid length is still accepted."""
    upload = tus.create(upload_defer_length=1)
    tus.patch(upload, b"hello", upload_offset=0).expect(204)
    tus.patch(upload, b"", upload_offset=5, upload_length=3).expect(400)
    tus.head(upload).expect(FOUND, upload_offset=5, upload_defer_length=1, upload_length=None)
    tus.patch(upload, b"", upload_offset=5, upload_length=5).expect(204, upload_offset=5)


@case("DL5b", POLICY, _AREA, "A length that was stored and then refused makes the upload unfinishable.")
def a_length_below_the_end_of_the_body(tus: Tus) -> None:
    """A length below the end of the body in the same request is answered 413 and not stored."""
    upload = tus.create(upload_defer_length=1)
    tus.patch(upload, b"hello", upload_offset=0, upload_length=3).expect(413)
    tus.head(upload).expect(FOUND, upload_offset=0, upload_defer_length=1, upload_length=None)
    tus.patch(upload, b"hello", upload_offset=0, upload_length=5).expect(204, upload_offset=5)


@case("DL5c", POLICY, _AREA, "The limit holds for lengths that come later too.", needs=Limit.ANY_LENGTH)
def a_length_beyond_the_limit(tus: Tus) -> None:
    """A length above `Tus-Max-Size` is answered 413 and not stored."""
    upload = tus.create(upload_defer_length=1)
    tus.patch(upload, b"hello", upload_offset=0, upload_length=(tus.subject.length_max or 0) + 1).expect(413)
    tus.head(upload).expect(FOUND, upload_offset=0, upload_defer_length=1, upload_length=None)


@case("DL5d", POLICY, _AREA, "The value MUST be a non-negative integer; what is refused must leave no trace.")
def an_invalid_late_length(tus: Tus) -> None:
    """An invalid length is answered 400 and appends nothing."""
    upload = tus.create(upload_defer_length=1)
    for value in ("-1", "abc", "05", "1_0", ""):
        tus.patch(upload, b"hello", upload_offset=0, upload_length=value).expect(400)
    tus.head(upload).expect(FOUND, upload_offset=0, upload_defer_length=1, upload_length=None)


@case("DL6", POLICY, _AREA, "tus-js-client, Companion and tus-py-client finish streams this way.")
def a_length_at_the_end(tus: Tus) -> None:
    """An empty PATCH whose `Upload-Length` is the offset completes the upload."""
    upload = tus.create(upload_defer_length=1)
    tus.patch(upload, b"hello", upload_offset=0).expect(204, upload_offset=5)
    tus.patch(upload, b"", upload_offset=5, upload_length=5).expect(204, upload_offset=5)
    tus.head(upload).expect(FOUND, upload_offset=5, upload_length=5, upload_defer_length=None)
    tus.holds(upload, b"hello")


@case("DL7", POLICY, _AREA, "Otherwise deferral would circumvent every limit.", needs=Limit.LENGTH)
def deferred_bytes_beyond_the_limit(tus: Tus) -> None:
    """Bytes beyond `Tus-Max-Size` on a deferred upload are answered 413, with or without `Content-Length`."""
    limit = tus.subject.length_max or 0
    upload = tus.create(upload_defer_length=1)
    tus.patch(upload, b"x" * (limit + 1), upload_offset=0).expect(413)
    tus.head(upload).expect(FOUND, upload_offset=0, upload_defer_length=1)
    other = tus.create(upload_defer_length=1)
    tus.patch(other, chunked(b"x" * limit, b"x" * 1000), upload_offset=0).expect(413)
    tus.head(other).expect(FOUND, upload_offset=at_most(limit), upload_defer_length=1, upload_length=None)


@case(
    "DL8",
    MUST,
    _AREA,
    "If the offsets do not match, the Server MUST respond with the `409 Conflict` status without modifying the "
    "upload resource.",
)
def a_length_with_a_wrong_offset(tus: Tus) -> None:
    """A PATCH with a wrong offset declares no length."""
    upload = tus.create(upload_defer_length=1)
    tus.patch(upload, b"hello", upload_offset=3, upload_length=10).expect(409)
    tus.head(upload).expect(FOUND, upload_offset=0, upload_defer_length=1, upload_length=None)


@case("DL9", POLICY, _AREA, "A 415 must not change anything either.")
def a_length_with_a_wrong_type(tus: Tus) -> None:
    """A PATCH with a wrong Content-Type declares no length."""
    upload = tus.create(upload_defer_length=1)
    tus.patch(upload, b"hello", upload_offset=0, upload_length=10, content_type="text/plain").expect(REFUSED)
    tus.head(upload).expect(FOUND, upload_offset=0, upload_defer_length=1, upload_length=None)


@case("DL10", POLICY, _AREA, "The length is no part of the body that was lost.")
def a_length_with_a_cut_body(tus: Tus) -> None:
    """After a PATCH with `Upload-Length` was cut, the same PATCH from the returned offset completes the upload."""
    upload = tus.create(upload_defer_length=1)
    tus.begin_patch(upload, content_length=10, upload_offset=0, upload_length=10).send(b"hello").cut()
    tus.offset_becomes(upload, 5)
    tus.patch(upload, b"world", upload_offset=5, upload_length=10).expect(204, upload_offset=10)
    tus.head(upload).expect(FOUND, upload_offset=10, upload_length=10, upload_defer_length=None)
