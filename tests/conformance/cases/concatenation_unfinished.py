"""Final uploads that wait for their parts (rows CO13, CO14)."""

from __future__ import annotations

import time

from tests.conformance.case import MUST, POLICY, SHOULD, Limit, case
from tests.conformance.client import Tus
from tests.conformance.expectations import FOUND, GONE

_AREA = "concatenation-unfinished"
_ALSO = ("concatenation",)
_NO_OFFSET = (
    "The response to a HEAD request for a final upload SHOULD NOT contain the `Upload-Offset` header unless the "
    "concatenation has been successfully finished."
)
_LENGTH = (
    "The `Upload-Length` header MUST be included if the length of the final resource can be calculated at the time "
    "of the request."
)
_DONE = (
    "After successful concatenation, the `Upload-Offset` and `Upload-Length` MUST be set and their values MUST be "
    "equal."
)


@case(
    "CO13a",
    MUST,
    _AREA,
    "The Client MAY send the concatenation request while the partial uploads are still in progress.",
    also=_ALSO,
)
def final_before_its_parts(tus: Tus) -> None:
    """A final POST with unfinished parts is answered 201, and HEAD returns `Upload-Concat` as received."""
    given = "final;" + " ".join(tus.create(5, upload_concat="partial") for _ in range(2))
    created = tus.post(upload_concat=given).expect(201, location=...)
    tus.head(tus.resolve(created.header("Location") or "")).expect(FOUND, upload_concat=given)


@case("CO13b", SHOULD, _AREA, _NO_OFFSET, also=_ALSO)
def no_offset_while_waiting(tus: Tus) -> None:
    """HEAD on a final upload with unfinished parts has no `Upload-Offset`."""
    one, two = tus.create(5, upload_concat="partial"), tus.create(5, b"hello", upload_concat="partial")
    tus.head(tus.create(upload_concat=f"final;{one} {two}")).expect(FOUND, upload_offset=None)


@case("CO13c", MUST, _AREA, _LENGTH, also=_ALSO)
def the_length_while_waiting(tus: Tus) -> None:
    """HEAD on a final upload with unfinished parts returns the length, if all parts have one."""
    one, two = tus.create(5, upload_concat="partial"), tus.create(7, upload_concat="partial")
    final = tus.create(upload_concat=f"final;{one} {two}")
    tus.head(final).expect(FOUND, upload_length=12, upload_defer_length=None)


@case("CO13d", MUST, _AREA, _DONE, also=_ALSO)
def done_with_the_last_part(tus: Tus) -> None:
    """When the last part is complete, so is the final upload, in the order listed, whatever the order of completion."""
    one, two = tus.create(5, upload_concat="partial"), tus.create(6, upload_concat="partial")
    final = tus.create(upload_concat=f"final;{one} {two} {one}")
    tus.patch(two, b" world", upload_offset=0).expect(204)
    tus.patch(one, b"hel", upload_offset=0).expect(204)
    tus.head(final).expect(FOUND, upload_offset=None, upload_length=16)
    tus.patch(one, b"lo", upload_offset=3).expect(204)
    tus.offset_becomes(final, 16).expect(FOUND, upload_length=16)
    tus.holds(final, b"hello worldhello")


@case(
    "CO13e",
    POLICY,
    _AREA,
    "Clients need one of the two; protocol issue 73 asks for this one.",
    also=(*_ALSO, "creation-defer-length"),
)
def parts_of_unknown_length(tus: Tus) -> None:
    """While a part has no length, HEAD on the final upload returns `Upload-Defer-Length: 1`; then the sum."""
    one, two = tus.create(5, upload_concat="partial"), tus.create(upload_concat="partial", upload_defer_length=1)
    final = tus.create(upload_concat=f"final;{one} {two}")
    tus.head(final).expect(FOUND, upload_length=None, upload_defer_length=1, upload_offset=None)
    tus.patch(two, b"ab", upload_offset=0, upload_length=4).expect(204)
    tus.head(final).expect(FOUND, upload_length=9, upload_defer_length=None, upload_offset=None)
    tus.patch(two, b"cd", upload_offset=2).expect(204)
    tus.patch(one, b"hello", upload_offset=0).expect(204)
    tus.offset_becomes(final, 9)
    tus.holds(final, b"helloabcd")


@case(
    "CO13f",
    MUST,
    _AREA,
    "The Server MUST respond with the `403 Forbidden` status to `PATCH` requests against a final upload URL",
    also=_ALSO,
)
def patch_while_waiting(tus: Tus) -> None:
    """PATCH on a final upload with unfinished parts is answered 403."""
    final = tus.create(upload_concat=f"final;{tus.create(5, upload_concat='partial')}")
    tus.patch(final, b"hello", upload_offset=0).expect(403)
    tus.patch(final, b"", upload_offset=0).expect(403)


@case("CO13g", POLICY, _AREA, "The same part may serve many.", also=_ALSO)
def several_finals_wait_for_one_part(tus: Tus) -> None:
    """Several final uploads with the same unfinished part are all completed with it."""
    one = tus.create(5, upload_concat="partial")
    finals = [tus.create(upload_concat=f"final;{one}") for _ in range(3)]
    tus.patch(one, b"hello", upload_offset=0).expect(204)
    for final in finals:
        tus.offset_becomes(final, 5)


@case("CO13h", POLICY, _AREA, "Nothing is left to complete it.", also=(*_ALSO, "termination"))
def deleting_a_waiting_final_upload(tus: Tus) -> None:
    """DELETE on a final upload with unfinished parts is answered 204; its parts continue, and can be deleted
    afterwards."""
    one = tus.create(5, upload_concat="partial")
    final = tus.create(upload_concat=f"final;{one}")
    tus.delete(final).expect(204)
    tus.patch(one, b"hello", upload_offset=0).expect(204, upload_offset=5)
    tus.head(final).expect(GONE)
    tus.delete(one).expect(204)


@case(
    "CO14a",
    POLICY,
    _AREA,
    "A part that expires under a final upload whose other parts go on makes it unfinishable.",
    also=(*_ALSO, "expiration"),
    needs=Limit.EXPIRY,
)
def needed_parts_do_not_expire(tus: Tus) -> None:
    """An idle partial upload does not expire while another part of the same final upload is still active."""
    resting, witness = tus.create(5, upload_concat="partial"), tus.create(5, upload_concat="partial")
    going, offset = tus.create(1000, upload_concat="partial"), 0
    final = tus.create(upload_concat=f"final;{resting} {going}")
    started = time.monotonic()
    while time.monotonic() - started < (tus.subject.expires_seconds or 0) + 1.5:
        if not tus.patch(going, b"x", upload_offset=offset).expect(204).holds:
            return
        offset += 1
        time.sleep(0.2)  # a client that goes on slowly is what this is about
    tus.eventually(lambda: tus.head(witness), lambda got: got.status in GONE, 3.5).expect(GONE)
    tus.head(resting).expect(FOUND, upload_offset=0)
    tus.patch(resting, b"hello", upload_offset=0).expect(204, upload_offset=5)
    tus.patch(going, b"x" * (1000 - offset), upload_offset=offset).expect(204, upload_offset=1000)
    tus.offset_becomes(final, 1005)


@case(
    "CO14b",
    POLICY,
    _AREA,
    "A client that polls the final upload must learn that it will never be finished.",
    also=(*_ALSO, "expiration"),
    needs=Limit.EXPIRY,
)
def nothing_waits_for_ever(tus: Tus) -> None:
    """When all parts have expired, the final upload that needs them is answered 404 or 410 too."""
    one, two = tus.create(5, upload_concat="partial"), tus.create(5, b"hello", upload_concat="partial")
    final = tus.create(upload_concat=f"final;{one} {two}")
    time.sleep(max(0.0, tus.subject.expires_seconds or 0.0))
    tus.eventually(lambda: tus.head(final), lambda got: got.status in GONE, 10).expect(GONE, upload_offset=None)
    tus.patch(one, b"hello", upload_offset=0).expect(GONE)
