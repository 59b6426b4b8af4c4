"""HEAD (rows H1 to H8); metadata, expiry and concatenation have their own files."""

from __future__ import annotations

from tests.conformance.case import MUST, POLICY, SHOULD, case
from tests.conformance.client import Tus
from tests.conformance.expectations import FOUND, listing

_OFFSET = (
    "The Server MUST always include the `Upload-Offset` header in the response for a `HEAD` request, "
    "even if the offset is `0`, or the upload is already considered completed."
)


@case("H1a", MUST, "core", _OFFSET)
def head_at_zero(tus: Tus) -> None:
    """HEAD on a new upload returns the offset 0."""
    observed = tus.head(tus.create(10))
    observed.expect(observed.status, upload_offset=0)


@case("H1b", MUST, "core", _OFFSET)
def head_when_complete(tus: Tus) -> None:
    """HEAD on a complete upload returns the offset, equal to the length."""
    observed = tus.head(tus.create(5, b"hello"))
    observed.expect(observed.status, upload_offset=5, upload_length=5)


@case(
    "H1c",
    MUST,
    "core",
    "If the size of the upload is known, the Server MUST include the `Upload-Length` header in the response.",
)
def head_returns_the_length(tus: Tus) -> None:
    """HEAD returns the length of an unfinished upload."""
    observed = tus.head(tus.create(10, b"hello"))
    observed.expect(observed.status, upload_offset=5, upload_length=10, upload_defer_length=None)


@case(
    "H1d",
    SHOULD,
    "core",
    "The Server SHOULD acknowledge successful `HEAD` requests with a `200 OK` or `204 No Content` status.",
)
def head_succeeds(tus: Tus) -> None:
    """HEAD on an upload is answered 200 or 204."""
    tus.head(tus.create(10)).expect(FOUND)


@case(
    "H1e",
    MUST,
    "core",
    "The Server MUST prevent the client and/or proxies from caching the response by adding the `Cache-Control: "
    "no-store` header",
)
def head_is_not_cached(tus: Tus) -> None:
    """HEAD has `Cache-Control: no-store`, also for complete uploads."""
    for upload in (tus.create(10), tus.create(5, b"hello")):
        observed = tus.head(upload)
        observed.expect(observed.status, cache_control=listing("no-store"))


@case(
    "H4a",
    SHOULD,
    "core",
    "If the resource is not found, the Server SHOULD return either the `404 Not Found`, `410 Gone` or `403 "
    "Forbidden` status without the `Upload-Offset` header.",
)
def head_on_the_unknown(tus: Tus) -> None:
    """HEAD on an upload that does not exist is answered 404, 410 or 403, without `Upload-Offset`."""
    tus.head(tus.unknown()).expect((404, 410, 403), upload_offset=None)


@case(
    "H4b",
    POLICY,
    "core",
    "A cached 404 would hide an upload that comes to be; an id of another shape is as unknown as any.",
)
def the_unknown_is_404(tus: Tus) -> None:
    """HEAD on ids of any shape that do not exist is answered 404 with `no-store`."""
    tus.head(tus.unknown()).expect(404, cache_control=listing("no-store"))
    for name in ("x", "00000000-0000-4000-8000-000000000000", "0123456789abcdef0123456789abcdef"):
        target = f"{tus.collection.rstrip('/')}/{name}"
        tus.head(target).expect(404, upload_offset=None, cache_control=listing("no-store"))


@case("H7", POLICY, "core", "An offset that cannot be used sends the client round once more.")
def the_returned_offset_is_accepted(tus: Tus) -> None:
    """The offset that HEAD returns after a cut PATCH is accepted by the next PATCH."""
    upload = tus.create(1000)
    tus.begin_patch(upload, content_length=1000, upload_offset=0).send(b"x" * 400).cut()
    offset = tus.head(upload).expect(FOUND, upload_offset=...).number("Upload-Offset")
    rest = b"x" * (1000 - offset)
    tus.patch(upload, rest, upload_offset=offset).expect(204, upload_offset=1000)


@case("H8", POLICY, "core", "RFC 9110: `Content-Length` on HEAD is what GET would send, not what the upload will be.")
def head_has_no_length_of_its_own(tus: Tus) -> None:
    """`Content-Length` on HEAD is absent, or that of GET; so never the length of an unfinished upload."""
    upload = tus.create(10, b"hello")
    observed = tus.head(upload).expect(FOUND)
    length = observed.header("Content-Length")
    if length is not None:
        would = tus.get(upload).header("Content-Length")
        observed.check(f"Content-Length: absent or {would}", length, length == would)
