"""`Tus-Resumable`: which requests are refused for it, and which responses have it (rows C1 to C4)."""

from __future__ import annotations

from tests.conformance.case import MUST, POLICY, case
from tests.conformance.client import TUS_TYPE, Tus
from tests.conformance.expectations import FOUND, listing

_UNSUPPORTED = (
    "If the version specified by the Client is not supported by the Server, it MUST respond with the "
    "`412 Precondition Failed` status and MUST include the `Tus-Version` header into the response."
)


@case("C1a", MUST, "core", _UNSUPPORTED)
def another_version_on_post(tus: Tus) -> None:
    """POST with an unsupported version is answered 412 with `Tus-Version` and creates nothing."""
    for version in ("0.2.2", "2.0.0", "1.0", "nonsense"):
        tus.post(upload_length=10, tus_resumable=version).expect(412, tus_version=listing("1.0.0"), location=None)


@case("C1b", MUST, "core", "In addition, the Server MUST NOT process the request.")
def another_version_on_patch(tus: Tus) -> None:
    """PATCH with an unsupported version is answered 412 with `Tus-Version` and appends nothing."""
    upload = tus.create(10)
    tus.patch(upload, b"hello", upload_offset=0, tus_resumable="0.2.2").expect(412, tus_version=listing("1.0.0"))
    tus.head(upload).expect(FOUND, upload_offset=0)


@case("C1c", MUST, "core", _UNSUPPORTED)
def another_version_on_head(tus: Tus) -> None:
    """HEAD with an unsupported version is answered 412 with `Tus-Version` and without `Upload-Offset`."""
    upload = tus.create(10)
    tus.head(upload, tus_resumable="0.2.2").expect(412, tus_version=listing("1.0.0"), upload_offset=None)


@case("C1d", MUST, "core", "In addition, the Server MUST NOT process the request.", also=("termination",))
def another_version_on_delete(tus: Tus) -> None:
    """DELETE with an unsupported version is answered 412 with `Tus-Version` and deletes nothing."""
    upload = tus.create(10)
    tus.delete(upload, tus_resumable="0.2.2").expect(412, tus_version=listing("1.0.0"))
    tus.head(upload).expect(FOUND, upload_offset=0)


@case("C1e", POLICY, "core", "The body of a refused request should not be transferred.")
def another_version_before_the_body(tus: Tus) -> None:
    """A PATCH with an unsupported version that expects `100 Continue` is refused without requesting its body."""
    upload = tus.create(10)
    stream = tus.connect().begin(
        "PATCH",
        upload,
        content_type=TUS_TYPE,
        content_length=10,
        upload_offset=0,
        expect="100-continue",
        tus_resumable="0.2.2",
    )
    answer = stream.answer().expect(412)
    answer.expect_no_continue()


@case("C2a", POLICY, "core", "`Tus-Resumable` MUST be included in every request: without it this is no tus client.")
def post_without_a_version(tus: Tus) -> None:
    """POST without `Tus-Resumable` is answered 412 and creates nothing."""
    tus.post(upload_length=10, tus_resumable=None).expect(412, tus_version=listing("1.0.0"), location=None)


@case("C2b", POLICY, "core", "`Tus-Resumable` MUST be included in every request: without it this is no tus client.")
def patch_without_a_version(tus: Tus) -> None:
    """PATCH without `Tus-Resumable` is answered 412 and appends nothing."""
    upload = tus.create(10)
    tus.patch(upload, b"hello", upload_offset=0, tus_resumable=None).expect(412, tus_version=listing("1.0.0"))
    tus.head(upload).expect(FOUND, upload_offset=0)


@case(
    "C2c",
    POLICY,
    "core",
    "`Tus-Resumable` MUST be included in every request: without it this is no tus client.",
    also=("termination",),
)
def delete_without_a_version(tus: Tus) -> None:
    """DELETE without `Tus-Resumable` is answered 412 and deletes nothing."""
    upload = tus.create(10)
    tus.delete(upload, tus_resumable=None).expect(412, tus_version=listing("1.0.0"))
    tus.head(upload).expect(FOUND, upload_offset=0)


@case("C3", POLICY, "core", "It is harmless, and lets a browser's address bar or a monitor send HEAD.")
def head_without_a_version(tus: Tus) -> None:
    """HEAD without `Tus-Resumable` is answered normally."""
    tus.head(tus.create(10), tus_resumable=None).expect(FOUND, upload_offset=0)


@case(
    "C4a",
    MUST,
    "core",
    "The `Tus-Resumable` header MUST be included in every request and response except for `OPTIONS` requests.",
)
def successes_have_the_version(tus: Tus) -> None:
    """201, 200 and 204 have `Tus-Resumable: 1.0.0`."""
    tus.post(upload_length=5).expect(201, tus_resumable="1.0.0")
    upload = tus.create(5)
    tus.head(upload).expect(FOUND, tus_resumable="1.0.0")
    tus.patch(upload, b"hello", upload_offset=0).expect(204, tus_resumable="1.0.0")


@case(
    "C4b",
    MUST,
    "core",
    "The `Tus-Resumable` header MUST be included in every request and response except for `OPTIONS` requests.",
)
def refusals_have_the_version(tus: Tus) -> None:
    """Error responses of every kind have `Tus-Resumable: 1.0.0` too."""
    upload, any_refusal = tus.create(5), range(400, 500)
    tus.head(tus.unknown()).expect(any_refusal, tus_resumable="1.0.0")
    tus.post().expect(any_refusal, tus_resumable="1.0.0")
    tus.post(upload_length="x").expect(any_refusal, tus_resumable="1.0.0")
    tus.post(upload_length=5, tus_resumable="0.2.2").expect(any_refusal, tus_resumable="1.0.0")
    tus.patch(upload, b"hello", upload_offset=3).expect(any_refusal, tus_resumable="1.0.0")
    tus.patch(upload, b"hello", upload_offset=0, content_type="text/plain").expect(any_refusal, tus_resumable="1.0.0")
    tus.patch(upload, b"hello world", upload_offset=0).expect(any_refusal, tus_resumable="1.0.0")
    tus.request("PUT", upload, b"").expect(any_refusal, tus_resumable="1.0.0")
