"""Partial and final uploads (rows H10, CO1 to CO12, CO16). Final uploads before their parts:
``concatenation_unfinished``."""

from __future__ import annotations

from urllib.parse import urljoin

from tests.conformance.case import MUST, POLICY, SHOULD, Limit, case
from tests.conformance.client import TUS_TYPE, Tus, metadata
from tests.conformance.expectations import FOUND, REFUSED, one_of

_AREA = "concatenation"
_ECHO = (
    "Response to `HEAD` request against partial or final upload MUST include the `Upload-Concat` header and its "
    "value as received in the upload creation request."
)
_FORBIDDEN = (
    "The Server MUST respond with the `403 Forbidden` status to `PATCH` requests against a final upload URL and "
    "MUST NOT modify the final or its partial uploads."
)
_SUM = "The length of the final upload MUST be the sum of the length of all partial uploads."
_MANY_TIMES = (
    "The same partial upload MAY be present multiple times in the `Upload-Concat` header in one upload creation "
    "request or MAY be used in multiple upload creation requests."
)


def part(tus: Tus, body: bytes) -> str:
    """A complete partial upload that holds ``body``."""
    return tus.create(len(body), body, upload_concat="partial")


@case(
    "CO1a", MUST, _AREA, "The response to a HEAD request for a partial upload MUST contain the `Upload-Offset` header."
)
def a_partial_upload(tus: Tus) -> None:
    """POST with `Upload-Concat: partial` creates an upload that accepts PATCH as usual, and HEAD returns its kind."""
    upload = tus.create(10, upload_concat="partial")
    tus.head(upload).expect(FOUND, upload_offset=0, upload_length=10, upload_concat="partial")
    tus.patch(upload, b"hello", upload_offset=0).expect(204, upload_offset=5)
    tus.head(upload).expect(FOUND, upload_offset=5, upload_concat="partial")


@case("CO1b", POLICY, _AREA, "If the upload is a partial one, the header value MUST be `partial`.")
def an_odd_kind(tus: Tus) -> None:
    """An `Upload-Concat` other than `partial` and `final;…` is answered 400, not handled as a regular upload."""
    for value in ("Partial", "PARTIAL", "partial;", "partially", "final", "Final;x", "whole", ""):
        tus.post(upload_length=10, upload_concat=value).expect(400, location=None)


@case("CO1c", POLICY, _AREA, "Streams can be cut into parts too.", also=("creation-defer-length",))
def a_partial_upload_without_a_length(tus: Tus) -> None:
    """A partial upload may defer its length, and be used once it is complete."""
    upload = tus.create(upload_concat="partial", upload_defer_length=1)
    tus.patch(upload, b"hello", upload_offset=0, upload_length=5).expect(204, upload_offset=5)
    final = tus.create(upload_concat=f"final;{upload}")
    tus.offset_becomes(final, 5).expect(FOUND, upload_length=5)


@case("CO2a", MUST, _AREA, _SUM)
def a_final_upload(tus: Tus) -> None:
    """POST with `final;` and complete partial uploads creates an upload with the sum of their lengths, in the order
    listed."""
    first, second = part(tus, b"hello"), part(tus, b" world!")
    final = tus.create(upload_concat=f"final;{first} {second}")
    tus.offset_becomes(final, 12).expect(FOUND, upload_length=12, upload_offset=12)
    tus.holds(final, b"hello world!")
    other = tus.create(upload_concat=f"final;{second} {first}")
    tus.offset_becomes(other, 12)
    tus.holds(other, b" world!hello")


@case("CO2b", MUST, _AREA, "the partial uploads' metadata SHALL NOT be transferred to the new final upload.")
def metadata_of_the_final_upload(tus: Tus) -> None:
    """A final upload has the metadata of its own POST and none of its parts."""
    one = tus.create(5, b"hello", upload_concat="partial", upload_metadata=metadata(part="1"))
    given = metadata(filename="hello.txt")
    final = tus.create(upload_concat=f"final;{one}", upload_metadata=given)
    tus.head(final).expect(FOUND, upload_metadata=given)
    tus.head(tus.create(upload_concat=f"final;{one}")).expect(FOUND, upload_metadata=None)


@case("CO2c", POLICY, _AREA, "Empty files are cut into parts by programs, not by people.")
def empty_parts(tus: Tus) -> None:
    """Partial uploads of no bytes can be concatenated, alone and among others."""
    empty, full = tus.create(0, upload_concat="partial"), part(tus, b"hello")
    tus.offset_becomes(tus.create(upload_concat=f"final;{empty}"), 0).expect(FOUND, upload_length=0)
    tus.offset_becomes(tus.create(upload_concat=f"final;{empty} {full} {empty}"), 5).expect(FOUND, upload_length=5)


@case("CO3a", MUST, _AREA, _ECHO)
def the_list_is_returned_as_received(tus: Tus) -> None:
    """HEAD on a final upload returns `Upload-Concat` as received, whatever the form of its URLs."""
    one, two = part(tus, b"hello"), part(tus, b"world")
    for given in (f"final;{one} {two}", f"final;{urljoin(tus.subject.url, one)} {two}"):
        tus.head(tus.create(upload_concat=given)).expect(FOUND, upload_concat=given)


@case("CO3b", POLICY, _AREA, "The header is defined for responses to the creation as well.")
def the_kind_is_returned_at_creation(tus: Tus) -> None:
    """The 201 of partial and final uploads has `Upload-Concat` as received."""
    tus.post(upload_length=5, upload_concat="partial").expect(201, upload_concat="partial")
    given = f"final;{part(tus, b'hello')}"
    tus.post(upload_concat=given).expect(201, upload_concat=given)


@case("CO4", POLICY, _AREA, _MANY_TIMES)
def parts_used_many_times(tus: Tus) -> None:
    """A partial upload may occur twice in one list, and in several lists."""
    one, two = part(tus, b"ab"), part(tus, b"c")
    twice = tus.create(upload_concat=f"final;{one} {two} {one}")
    tus.offset_becomes(twice, 5).expect(FOUND, upload_length=5)
    tus.holds(twice, b"abcab")
    again = tus.create(upload_concat=f"final;{two} {one}")
    tus.offset_becomes(again, 3)
    tus.holds(again, b"cab")


@case("CO5a", MUST, _AREA, _SUM)
def a_length_of_the_final_upload(tus: Tus) -> None:
    """A final POST with a wrong `Upload-Length` is refused, or its length is the sum anyway."""
    created = tus.post(upload_concat=f"final;{part(tus, b'hello')}", upload_length=999)
    if created.status == 201:
        tus.head(tus.resolve(created.header("Location") or "")).expect(FOUND, upload_length=5)
    else:
        created.expect(REFUSED, location=None)


@case("CO5b", POLICY, _AREA, "The Client MUST NOT include the `Upload-Length` header in the final upload creation.")
def a_wrong_length_of_the_final_upload(tus: Tus) -> None:
    """A final POST whose `Upload-Length` is not the sum is answered 400; one that repeats the sum is accepted."""
    one = part(tus, b"hello")
    tus.post(upload_concat=f"final;{one}", upload_length=999).expect(400, location=None)
    tus.post(upload_concat=f"final;{one}", upload_length=5).expect(201, location=...)


@case("CO6a", MUST, _AREA, "The partial uploads URLs MAY be absolute or relative and MUST NOT contain spaces")
def forms_of_urls(tus: Tus) -> None:
    """The list may have absolute URLs and absolute paths."""
    one, two = part(tus, b"hello"), part(tus, b"world")
    absolute = [urljoin(tus.subject.url, upload) for upload in (one, two)]
    for given in (f"final;{one} {two}", f"final;{absolute[0]} {absolute[1]}", f"final;{one} {absolute[1]}"):
        final = tus.create(upload_concat=given)
        tus.offset_becomes(final, 10)
        tus.holds(final, b"helloworld")


@case("CO6b", POLICY, _AREA, "RFC 3986: a relative reference is resolved against the URL it was sent to.")
def relative_urls(tus: Tus) -> None:
    """The list may have URLs relative to the collection of the POST."""
    one = part(tus, b"hello")
    folder = tus.collection.rpartition("/")[0] + "/"
    relative = one.removeprefix(folder)
    final = tus.create(upload_concat=f"final;{relative}")
    tus.offset_becomes(final, 5)


@case("CO7", POLICY, _AREA, "tusd keeps it for old clients.")
def a_space_after_the_semicolon(tus: Tus) -> None:
    """One space after `final;` is accepted; an empty list is answered 400."""
    final = tus.create(upload_concat=f"final; {part(tus, b'hello')}")
    tus.offset_becomes(final, 5)
    for given in ("final;", "final; "):
        tus.post(upload_concat=given).expect(400, location=None)


@case("CO8a", POLICY, _AREA, "A distinct response would reveal to strangers which uploads exist.")
def invalid_parts(tus: Tus) -> None:
    """Unknown, regular and final uploads in the list are answered 400, all with the same response."""
    one = part(tus, b"hello")
    plain = tus.create(5, b"hello")
    final = tus.create(upload_concat=f"final;{one}")
    for other in (tus.unknown(), plain, final):
        tus.post(upload_concat=f"final;{one} {other}").expect(400, location=None)


@case("D9b", POLICY, _AREA, "An id is hostile input, also in a list.")
def hostile_lists(tus: Tus) -> None:
    """URLs that are not uploads of this server, or attempt traversal or injection, are answered 400, never by a 5xx."""
    base = tus.collection.rstrip("/")
    for url in (f"{base}/..%2f..%2fetc%2fpasswd", f"{base}/%00", "/other/abc", "http://evil.example/other/abc",
                "file:///etc/passwd", "http://[", "//", f"{base}/" + "a" * 3000, "javascript:alert(1)"):  # fmt: skip
        tus.post(upload_concat=f"final;{url}").expect(400, location=None)


@case(
    "CO9",
    MUST,
    _AREA,
    "If the length of the upload exceeds the maximum, … the Server MUST respond with the `413 Request Entity Too "
    "Large` status.",
    needs=Limit.LENGTH,
)
def a_sum_beyond_the_limit(tus: Tus) -> None:
    """A final upload whose length would exceed `Tus-Max-Size` is answered 413."""
    one = part(tus, b"x" * ((tus.subject.length_max or 0) // 2 + 1))
    tus.post(upload_concat=f"final;{one} {one}").expect(413, location=None)


@case("CO10", MUST, _AREA, _FORBIDDEN)
def patch_on_a_final_upload(tus: Tus) -> None:
    """PATCH on a final upload is answered 403, whatever its offset, type and body, and changes nothing."""
    final = tus.create(upload_concat=f"final;{part(tus, b'hello')}")
    tus.offset_becomes(final, 5)
    tus.patch(final, b"x", upload_offset=5).expect(403)
    tus.patch(final, b"", upload_offset=5).expect(403)
    tus.patch(final, b"x", upload_offset=0).expect(403)
    tus.patch(final, b"x", upload_offset=5, content_type="text/plain").expect(403)
    tus.head(final).expect(FOUND, upload_offset=5, upload_length=5)
    tus.holds(final, b"hello")


@case("CO11", POLICY, _AREA, "A final upload has no bytes of its own.")
def a_body_with_the_final_post(tus: Tus) -> None:
    """A final POST with a body is answered 403 and creates nothing."""
    one = part(tus, b"hello")
    tus.post(b"x", upload_concat=f"final;{one}", content_type=TUS_TYPE).expect(403, location=None)


@case(
    "CO12",
    MUST,
    _AREA,
    "This feature MUST be explicitly announced by the Server by adding `concatenation-unfinished`",
    without=("concatenation-unfinished",),
)
def unfinished_parts(tus: Tus) -> None:
    """Without concatenation-unfinished, a final POST over unfinished parts is refused."""
    one = tus.create(5, upload_concat="partial")
    tus.post(upload_concat=f"final;{one}").expect(REFUSED, location=None)


@case("CO16", POLICY, _AREA, "So tus-js-client finishes parallel uploads.")
def the_final_post_of_tus_js_client(tus: Tus) -> None:
    """A final POST without body, length and type is answered 201, with and without `Content-Length`."""
    one = urljoin(tus.subject.url, part(tus, b"hello"))
    tus.request("POST", tus.collection, upload_concat=f"final;{one} {one}").expect(201, location=...)
    created = tus.post(upload_concat=f"final;{one}", content_length=0).expect(
        201, location=..., upload_length=one_of(None, "5")
    )
    tus.offset_becomes(tus.resolve(created.header("Location") or ""), 5)


@case(
    "H10",
    SHOULD,
    _AREA,
    "After successful concatenation, the `Upload-Offset` and `Upload-Length` MUST be set and their values MUST be "
    "equal.",
)
def a_finished_final_upload(tus: Tus) -> None:
    """HEAD on a finished final upload returns an offset equal to its length, and `no-store`."""
    final = tus.create(upload_concat=f"final;{part(tus, b'hello')}")
    tus.offset_becomes(final, 5).expect(FOUND, upload_offset=5, upload_length=5, cache_control="no-store")
