"""`Upload-Checksum` after the body (row CK6)."""

from __future__ import annotations

from tests.conformance.case import MUST, POLICY, case
from tests.conformance.cases.checksum import checksum
from tests.conformance.client import Chunked, Tus, chunked
from tests.conformance.expectations import FOUND

_AREA = "checksum-trailer"
_SPEC = "If the hash cannot be calculated at the beginning of the upload, it MAY be included as a trailer."
_DISCARD = "the uploaded chunk MUST be discarded, and the upload and its offset MUST NOT be updated."


@case("CK6a", MUST, _AREA, _SPEC, also=("checksum",))
def a_correct_trailer(tus: Tus) -> None:
    """A chunked PATCH with the correct checksum as trailer is answered 204."""
    upload = tus.create(10)
    body = chunked(b"he", b"llo", upload_checksum=checksum(b"hello"))
    tus.patch(upload, body, upload_offset=0).expect(204, upload_offset=5)
    tus.patch(upload, chunked(b"world", upload_checksum=checksum(b"world", "sha1")), upload_offset=5).expect(204)
    tus.holds(upload, b"helloworld")


@case("CK6b", MUST, _AREA, f"2) `460 Checksum Mismatch` if the checksums mismatch … {_DISCARD}", also=("checksum",))
def a_wrong_trailer(tus: Tus) -> None:
    """A chunked PATCH with a wrong checksum as trailer is answered 460 and appends nothing."""
    upload = tus.create(10)
    tus.patch(upload, chunked(b"hello", upload_checksum=checksum(b"other")), upload_offset=0).expect(460)
    tus.head(upload).expect(FOUND, upload_offset=0)


@case("CK6c", POLICY, _AREA, "Without the announced trailer nothing can be verified.", also=("checksum",))
def a_missing_trailer(tus: Tus) -> None:
    """A trailer that was declared and is missing or malformed is answered 400, and nothing is appended."""
    upload = tus.create(10)
    tus.patch(upload, chunked(b"hello"), upload_offset=0, trailer="Upload-Checksum").expect(400)
    for value in ("sha1", "sha1 !!!", "whirlpool2 aGVsbG8="):
        tus.patch(upload, chunked(b"hello", upload_checksum=value), upload_offset=0).expect(400)
    tus.head(upload).expect(FOUND, upload_offset=0)


@case("CK6d", POLICY, _AREA, "Which of the two counts cannot be known.", also=("checksum",))
def both_header_and_trailer(tus: Tus) -> None:
    """A checksum both as header and as trailer is answered 400."""
    upload = tus.create(10)
    body = chunked(b"hello", upload_checksum=checksum(b"hello"))
    tus.patch(upload, body, upload_offset=0, upload_checksum=checksum(b"hello")).expect(400)
    tus.head(upload).expect(FOUND, upload_offset=0)


@case(
    "CK6e",
    POLICY,
    _AREA,
    "A header smuggled in behind the body must not change what was decided before it.",
    also=("checksum",),
)
def other_trailers_are_ignored(tus: Tus) -> None:
    """Trailers with the names of tus headers (`Upload-Offset`, `Upload-Length`, `Tus-Resumable`) change nothing."""
    upload = tus.create(10)
    fields = {"Upload-Offset": "9", "Upload-Length": "5", "Tus-Resumable": "0.2.2", "X-HTTP-Method-Override": "DELETE"}
    tus.patch(upload, Chunked((b"hello",), fields), upload_offset=0).expect(204, upload_offset=5)
    tus.head(upload).expect(FOUND, upload_offset=5, upload_length=10)


@case("CK6f", POLICY, _AREA, "Bytes whose checksum never came must not count as verified.", also=("checksum",))
def a_cut_before_the_trailer(tus: Tus) -> None:
    """The received bytes of a PATCH that declared a trailer and was cut are discarded."""
    upload = tus.create(1000)
    stream = tus.begin_patch(upload, transfer_encoding="chunked", trailer="Upload-Checksum", upload_offset=0)
    stream.chunk(b"x" * 300).cut()
    tus.head(upload).expect(FOUND, upload_offset=0)
    tus.patch(upload, b"y" * 10, upload_offset=0).expect(204, upload_offset=10)
