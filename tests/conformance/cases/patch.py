"""PATCH: success, offsets, types and lengths (rows P1 to P6, P11 to P13, D6). Bodies and their ends are in
``bodies``."""

from __future__ import annotations

from tests.conformance.case import MUST, POLICY, SHOULD, case
from tests.conformance.client import Tus, fields
from tests.conformance.expectations import FOUND

#: Python's int(), JavaScript's parseInt and C's strtol each accept some of these.
NO_NUMBERS = (
    "-1", "+0", "00", "0x0", "0.0", "1e0", "0_0", "", "abc", "0,0", "0 0",
    "٠".encode(), "０".encode(), b"\xa00", "²".encode(),
    "9223372036854775808", "99999999999999999999999999",
)  # fmt: skip
_CONFLICT = (
    "If the offsets do not match, the Server MUST respond with the `409 Conflict` status without modifying the "
    "upload resource."
)


@case(
    "P1a",
    MUST,
    "core",
    "The Server MUST acknowledge successful `PATCH` requests with the `204 No Content` status. It MUST include the "
    "`Upload-Offset` header containing the new offset.",
)
def patch_appends(tus: Tus) -> None:
    """PATCH at the right offset is answered 204 with the new offset, and HEAD agrees."""
    upload = tus.create(11)
    tus.patch(upload, b"hello", upload_offset=0).expect(204, upload_offset=5)
    tus.head(upload).expect(FOUND, upload_offset=5)
    tus.patch(upload, b" world", upload_offset=5).expect(204, upload_offset=11)
    tus.head(upload).expect(FOUND, upload_offset=11)
    tus.holds(upload, b"hello world")


@case("P1b", POLICY, "core", "RFC 9110: a server MUST NOT send `Content-Length` in a 204.")
def patch_responds_without_a_body(tus: Tus) -> None:
    """The 204 has no `Content-Length`, no `Transfer-Encoding` and no body, and the connection stays usable."""
    upload = tus.create(10)
    line = tus.connect()
    body = fields(content_type="application/offset+octet-stream", content_length=5)
    line.begin("PATCH", upload, upload_offset=0, **body).send(b"hello")
    line.answer().expect(204, content_length=None, transfer_encoding=None)
    line.begin("PATCH", upload, upload_offset=5, **body).send(b"world")
    line.answer().expect(204, upload_offset=10)


@case(
    "P2a",
    SHOULD,
    "core",
    "All `PATCH` requests MUST use `Content-Type: application/offset+octet-stream`, otherwise the server SHOULD "
    "return a `415 Unsupported Media Type` status.",
)
def another_type(tus: Tus) -> None:
    """PATCH with another Content-Type is answered 415 and appends nothing."""
    upload = tus.create(10)
    for kind in ("application/octet-stream", "text/plain", "application/offset+octet-streams", "application/offset"):
        tus.patch(upload, b"hello", upload_offset=0, content_type=kind).expect(415)
    tus.head(upload).expect(FOUND, upload_offset=0)


@case(
    "P2b",
    SHOULD,
    "core",
    "All `PATCH` requests MUST use `Content-Type: application/offset+octet-stream`, otherwise the server SHOULD "
    "return a `415 Unsupported Media Type` status.",
)
def no_type(tus: Tus) -> None:
    """PATCH without a Content-Type is answered 415 and appends nothing."""
    upload = tus.create(10)
    tus.patch(upload, b"hello", upload_offset=0, content_type=None).expect(415)
    tus.head(upload).expect(FOUND, upload_offset=0)


@case("P3", POLICY, "core", "RFC 9110: media types are case-insensitive, and may have parameters.")
def the_type_in_other_forms(tus: Tus) -> None:
    """The tus type is accepted in any case and with parameters."""
    upload = tus.create(15)
    kinds = (
        "Application/Offset+Octet-Stream",
        "application/offset+octet-stream; charset=utf-8",
        "APPLICATION/OFFSET+OCTET-STREAM;a=b",
    )
    for number, kind in enumerate(kinds):
        tus.patch(upload, b"hello", upload_offset=5 * number, content_type=kind).expect(
            204, upload_offset=5 * number + 5
        )


@case("P4a", MUST, "core", _CONFLICT)
def a_wrong_offset(tus: Tus) -> None:
    """PATCH before or beyond the offset is answered 409 and changes nothing."""
    upload = tus.create(10, b"hello")
    for offset in (0, 4, 6, 10):
        tus.patch(upload, b"x", upload_offset=offset).expect(409)
    tus.patch(upload, b"", upload_offset=3).expect(409)
    tus.head(upload).expect(FOUND, upload_offset=5)
    tus.patch(upload, b"world", upload_offset=5).expect(204, upload_offset=10)
    tus.holds(upload, b"helloworld")


@case(
    "P4b", POLICY, "core", "It saves the client a HEAD; TUSKit corrects itself by it, and the IETF draft requires it."
)
def a_conflict_returns_the_offset(tus: Tus) -> None:
    """The 409 has the current `Upload-Offset`."""
    upload = tus.create(10, b"hello")
    tus.patch(upload, b"x", upload_offset=3).expect(409, upload_offset=5)


@case("P4c", POLICY, "core", "A number beyond 2⁵³ is a number: JavaScript alone cannot count so far.")
def an_offset_beyond_every_length(tus: Tus) -> None:
    """PATCH at an offset up to 2⁶³-1 is answered 409 like any other that does not match."""
    upload = tus.create(10)
    for offset in (9007199254740993, 4611686018427387904, 9223372036854775807):
        tus.patch(upload, b"x", upload_offset=offset).expect(409)


@case("P5a", POLICY, "core", "There is no offset to compare with.")
def no_offset(tus: Tus) -> None:
    """PATCH without `Upload-Offset` is answered 400 and appends nothing."""
    upload = tus.create(10)
    tus.patch(upload, b"hello").expect(400)
    tus.head(upload).expect(FOUND, upload_offset=0)


@case(
    "P5b",
    POLICY,
    "core",
    "The value MUST be a non-negative integer: ASCII digits, nothing a lenient parser reads into them.",
)
def an_invalid_offset(tus: Tus) -> None:
    """PATCH with an `Upload-Offset` that is not a plain number is answered 400 and appends nothing."""
    upload = tus.create(10)
    for value in NO_NUMBERS:
        tus.patch(upload, b"hello", upload_offset=value).expect(400)
    tus.head(upload).expect(FOUND, upload_offset=0)


@case("D6a", POLICY, "core", "Two parsers on the way may choose differently between two values.")
def repeated_headers(tus: Tus) -> None:
    """PATCH with a repeated singleton header is answered 400 and appends nothing."""
    upload = tus.create(10)
    tus.patch(upload, b"hello", extra=[("Upload-Offset", 0), ("Upload-Offset", 5)]).expect(400)
    tus.patch(upload, b"hello", extra=[("Upload-Offset", 0), ("Upload-Offset", 0)]).expect(400)
    kinds = [("Content-Type", "application/offset+octet-stream"), ("Content-Type", "text/plain")]
    tus.patch(upload, b"hello", upload_offset=0, content_type=None, extra=kinds).expect((400, 415))
    tus.patch(upload, b"hello", upload_offset=0, extra=[("Tus-Resumable", "0.2.2")]).expect((400, 412))
    tus.head(upload).expect(FOUND, upload_offset=0)


@case(
    "P6a",
    SHOULD,
    "core",
    "If the server receives a `PATCH` request against a non-existent resource it SHOULD return a `404 Not Found` "
    "status.",
)
def patch_on_the_unknown(tus: Tus) -> None:
    """PATCH on an upload that does not exist is answered 404."""
    tus.patch(tus.unknown(), b"hello", upload_offset=0).expect((404, 410), upload_offset=None)


@case("P6b", POLICY, "core", "An id of another shape is as unknown as any.")
def patch_on_an_odd_id(tus: Tus) -> None:
    """PATCH on an id of another shape is answered 404 too."""
    target = f"{tus.collection.rstrip('/')}/no-such-upload"
    tus.patch(target, b"hello", upload_offset=0).expect(404, upload_offset=None)


@case("P11a", POLICY, "core", "Clients probe with it, and finish deferred uploads by it.")
def an_empty_patch(tus: Tus) -> None:
    """An empty PATCH at the current offset is answered 204 and does not change the offset."""
    upload = tus.create(10, b"hello")
    tus.patch(upload, b"", upload_offset=5).expect(204, upload_offset=5)
    tus.head(upload).expect(FOUND, upload_offset=5)


@case("P11b", POLICY, "core", "A client that lost the last 204 may ask again.")
def an_empty_patch_when_complete(tus: Tus) -> None:
    """An empty PATCH on a complete upload is answered 204 with its offset, also when repeated."""
    upload = tus.create(5, b"hello")
    for _ in range(2):
        tus.patch(upload, b"", upload_offset=5).expect(204, upload_offset=5)
    tus.holds(upload, b"hello")


@case("P12", POLICY, "core", "A 204 would acknowledge bytes that are nowhere.")
def more_on_a_complete_upload(tus: Tus) -> None:
    """A PATCH with bytes on a complete upload is answered 413, and nothing changes."""
    upload = tus.create(5, b"hello")
    tus.patch(upload, b"more", upload_offset=5).expect(413)
    tus.head(upload).expect(FOUND, upload_offset=5, upload_length=5)
    tus.holds(upload, b"hello")


@case("P13", MUST, "core", _CONFLICT)
def a_replay_on_a_complete_upload(tus: Tus) -> None:
    """Repeating the first PATCH on a complete upload is answered 409: so the client learns that it is complete."""
    upload = tus.create(5, b"hello")
    tus.patch(upload, b"hello", upload_offset=0).expect(409)
    tus.head(upload).expect(FOUND, upload_offset=5)
