"""`Upload-Checksum` as a header (rows CK1 to CK5). As a trailer: ``checksum_trailer``."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable

from tests.conformance.case import MUST, POLICY, case
from tests.conformance.client import TUS_TYPE, Tus, chunked, fields
from tests.conformance.expectations import FOUND, listing, matching

_AREA = "checksum"
_DISCARD = (
    "In the first two cases the uploaded chunk MUST be discarded, and the upload and its offset MUST NOT be updated."
)

DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "md5": lambda data: hashlib.md5(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "sha512": lambda data: hashlib.sha512(data).digest(),
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
}


def checksum(data: bytes, algorithm: str = "sha1") -> str:
    """The value of ``Upload-Checksum`` for ``data``."""
    return f"{algorithm} {base64.b64encode(DIGESTS[algorithm](data)).decode()}"


@case(
    "CK1a",
    MUST,
    _AREA,
    "The `Tus-Checksum-Algorithm` header MUST be included in the response to an `OPTIONS` request. … The Server "
    "MUST support at least the SHA1 checksum algorithm identified by `sha1`.",
)
def algorithms_are_listed(tus: Tus) -> None:
    """OPTIONS lists the algorithms, `sha1` among them."""
    tus.options().expect(FOUND, tus_checksum_algorithm=listing("sha1"))


@case(
    "CK1b",
    MUST,
    _AREA,
    "The names of the checksum algorithms MUST only consist of ASCII characters with the modification that "
    "uppercase characters are excluded.",
)
def algorithms_are_in_lower_case(tus: Tus) -> None:
    """The names of the algorithms are ASCII without upper case."""
    name = "[!-+\\--@\\[-~]+"
    tus.options().expect(FOUND, tus_checksum_algorithm=matching(f"{name}( *, *{name})*", "names in lower case"))


@case("CK2a", MUST, _AREA, "3) `204 No Content` if the checksums match and the processing of the data succeeded.")
def a_correct_checksum(tus: Tus) -> None:
    """PATCH with the correct checksum of its body is answered 204, also for consecutive requests."""
    upload = tus.create(11)
    tus.patch(upload, b"hello", upload_offset=0, upload_checksum=checksum(b"hello")).expect(204, upload_offset=5)
    tus.patch(upload, b" world", upload_offset=5, upload_checksum=checksum(b" world")).expect(204, upload_offset=11)
    tus.holds(upload, b"hello world")


@case("CK2b", MUST, _AREA, f"2) `460 Checksum Mismatch` if the checksums mismatch. {_DISCARD}")
def a_wrong_checksum(tus: Tus) -> None:
    """PATCH with a wrong checksum is answered 460 and appends nothing; the correct checksum is accepted afterwards."""
    upload = tus.create(10, b"hello")
    tus.patch(upload, b"w0rld", upload_offset=5, upload_checksum=checksum(b"world")).expect(460)
    tus.head(upload).expect(FOUND, upload_offset=5)
    tus.patch(upload, b"world", upload_offset=5, upload_checksum=checksum(b"world")).expect(204, upload_offset=10)
    tus.holds(upload, b"helloworld")


@case("CK2c", MUST, _AREA, f"1) `400 Bad Request` if the checksum algorithm is not supported by the server. {_DISCARD}")
def an_unknown_algorithm(tus: Tus) -> None:
    """PATCH with an algorithm that is not listed is answered 400 and appends nothing."""
    upload = tus.create(5)
    tus.patch(upload, b"hello", upload_offset=0, upload_checksum="whirlpool2 aGVsbG8=").expect(400)
    tus.head(upload).expect(FOUND, upload_offset=0)


@case(
    "CK2d",
    MUST,
    _AREA,
    "The `Tus-Checksum-Algorithm` response header MUST be a comma-separated list of the checksum algorithms "
    "supported by the server.",
)
def every_listed_algorithm(tus: Tus) -> None:
    """For each listed algorithm that the suite can compute, correct and wrong checksums are distinguished."""
    for algorithm in tus.subject.algorithms:
        if algorithm not in DIGESTS:
            continue
        upload = tus.create(5)
        tus.patch(upload, b"hellO", upload_offset=0, upload_checksum=checksum(b"hello", algorithm)).expect(460)
        tus.patch(upload, b"hello", upload_offset=0, upload_checksum=checksum(b"hello", algorithm)).expect(204)


@case("CK2e", MUST, _AREA, _DISCARD)
def a_wrong_checksum_on_much(tus: Tus) -> None:
    """Three MiB with a wrong checksum are discarded entirely, also when chunked."""
    upload = tus.create(3 << 20)
    body = b"x" * (3 << 20)
    tus.patch(upload, body, upload_offset=0, upload_checksum=checksum(b"y")).expect(460)
    tus.head(upload).expect(FOUND, upload_offset=0)
    tus.patch(upload, chunked(body[:1000], body[1000:]), upload_offset=0, upload_checksum=checksum(b"y")).expect(460)
    tus.head(upload).expect(FOUND, upload_offset=0)
    tus.patch(upload, body, upload_offset=0, upload_checksum=checksum(body)).expect(204, upload_offset=3 << 20)


@case("CK2f", MUST, _AREA, "Once the entire request has been received, the Server MUST verify the uploaded chunk")
def a_checksum_of_chunks(tus: Tus) -> None:
    """The checksum of a chunked body covers its bytes, not its framing; this includes an empty body."""
    upload = tus.create(5)
    body = chunked(b"he", b"llo")
    tus.patch(upload, b"", upload_offset=0, upload_checksum=checksum(b"")).expect(204, upload_offset=0)
    tus.patch(upload, b"", upload_offset=0, upload_checksum=checksum(b"x")).expect(460)
    tus.patch(upload, body, upload_offset=0, upload_checksum=checksum(b"hello")).expect(204, upload_offset=5)


@case(
    "CK3a",
    POLICY,
    _AREA,
    "The header MUST consist of the name of the used checksum algorithm and the Base64 encoded checksum separated "
    "by a space.",
)
def a_malformed_checksum(tus: Tus) -> None:
    """A checksum with invalid syntax, or of the wrong size for its algorithm, is answered 400 and appends nothing."""
    upload = tus.create(5)
    right = checksum(b"hello").split(" ")[1]
    for value in (
        "sha1", "sha1 ", "", "sha1 !!!", f"sha1  {right}", f"sha1 {right} x", f"SHA1 {right}", f"sha1 {right[:-1]}",
        f"sha1 {right[:8]}", "sha1 " + checksum(b"hello", "sha256").split(" ")[1], f"sha1,{right}",
        f"sha1 {right},sha1 {right}",
    ):  # fmt: skip
        tus.patch(upload, b"hello", upload_offset=0, upload_checksum=value).expect(400)
    twice = [("Upload-Checksum", checksum(b"hello"))] * 2
    tus.patch(upload, b"hello", upload_offset=0, extra=twice).expect(400)
    tus.head(upload).expect(FOUND, upload_offset=0)


@case("CK3b", POLICY, _AREA, "RFC 9110: `Expect: 100-continue` exists so that a refusal costs no body.")
def refused_before_the_body(tus: Tus) -> None:
    """An unknown algorithm and a malformed checksum are refused without `100 Continue`."""
    upload = tus.create(5)
    for value in ("whirlpool2 aGVsbG8=", "sha1 !!!"):
        headers = fields(content_type=TUS_TYPE, content_length=5, expect="100-continue")
        line = tus.connect().begin("PATCH", upload, upload_offset=0, upload_checksum=value, **headers)
        refused = line.answer().expect(400)
        refused.expect_no_continue()


@case(
    "CK4",
    POLICY,
    _AREA,
    "Bytes whose checksum can no longer be computed must not count as verified: this overrides P7.",
)
def a_cut_body_with_a_checksum(tus: Tus) -> None:
    """The received bytes of a cut PATCH with a checksum are discarded."""
    upload = tus.create(1000, b"hello")
    headers = fields(content_length=500, upload_checksum=checksum(b"x" * 500))
    tus.begin_patch(upload, upload_offset=5, **headers).send(b"x" * 300).cut()
    tus.head(upload).expect(FOUND, upload_offset=5)
    tus.patch(upload, b"x" * 500, upload_offset=5, upload_checksum=checksum(b"x" * 500)).expect(204, upload_offset=505)


@case("CK5", POLICY, _AREA, "A mismatch is meaningful only for a body that would be stored.")
def other_errors_go_first(tus: Tus) -> None:
    """With a wrong checksum, a wrong offset is still 409, a wrong type 415 and a body that is too long 413."""
    upload = tus.create(10, b"hello")
    wrong = fields(upload_checksum=checksum(b"other"))
    tus.patch(upload, b"x", upload_offset=3, **wrong).expect(409)
    tus.patch(upload, b"x", upload_offset=5, content_type="text/plain", **wrong).expect(415)
    tus.patch(upload, b"too much", upload_offset=5, **wrong).expect(413)
    tus.patch(upload, chunked(b"too", b" much"), upload_offset=5, **wrong).expect(413)
    tus.head(upload).expect(FOUND, upload_offset=5)
