"""DELETE (rows TE1 to TE4)."""

from __future__ import annotations

from tests.conformance.case import MUST, POLICY, SHOULD, case
from tests.conformance.client import Tus
from tests.conformance.expectations import FOUND, GONE

_AREA = "termination"
_SPEC = (
    "When receiving a `DELETE` request for an existing upload the Server … MUST respond with the `204 No Content` "
    "status confirming that the upload was terminated."
)
_AFTER = "For all future requests to this URL, the Server SHOULD respond with the `404 Not Found` or `410 Gone` status."


@case("TE1a", MUST, _AREA, _SPEC)
def deleting_the_unfinished(tus: Tus) -> None:
    """DELETE on an unfinished upload is answered 204."""
    tus.delete(tus.create(10, b"hello")).expect(204)
    tus.delete(tus.create(10)).expect(204)


@case("TE1b", MUST, _AREA, _SPEC)
def deleting_the_complete(tus: Tus) -> None:
    """DELETE on a complete upload is answered 204."""
    upload = tus.create(5, b"hello")
    tus.delete(upload).expect(204)
    tus.head(upload).expect(GONE)


@case("TE1c", MUST, _AREA, _SPEC, also=("creation-defer-length",))
def deleting_a_deferred_upload(tus: Tus) -> None:
    """DELETE on an upload of unknown length is answered 204."""
    tus.delete(tus.create(upload_defer_length=1)).expect(204)


@case("TE2a", SHOULD, _AREA, _AFTER)
def gone_after_deletion(tus: Tus) -> None:
    """After DELETE, HEAD and PATCH are answered 404 or 410, without `Upload-Offset`."""
    upload = tus.create(10, b"hello")
    tus.delete(upload).expect(204)
    tus.head(upload).expect(GONE, upload_offset=None)
    tus.patch(upload, b"world", upload_offset=5).expect(GONE, upload_offset=None)
    tus.head(upload).expect(GONE, upload_offset=None)


@case("TE2b", POLICY, _AREA, "tus-js-client's own tests expect 404 after DELETE.")
def unknown_after_deletion(tus: Tus) -> None:
    """After DELETE the upload is as unknown as one that never existed: 404 on HEAD, GET, PATCH and DELETE."""
    upload = tus.create(5, b"hello")
    tus.delete(upload).expect(204)
    tus.head(upload).expect(404)
    tus.get(upload).expect(404)
    tus.patch(upload, b"", upload_offset=5).expect(404)
    tus.delete(upload).expect(404)


@case("TE3", SHOULD, _AREA, _AFTER)
def deleting_twice(tus: Tus) -> None:
    """A second DELETE is answered 404 or 410, and so is DELETE on an upload that never existed."""
    upload = tus.create(10)
    tus.delete(upload).expect(204)
    tus.delete(upload).expect(GONE)
    tus.delete(tus.unknown()).expect(GONE)


@case("TE4a", POLICY, _AREA, "The final upload has its own bytes.", also=("concatenation",))
def deleting_a_part_that_was_used(tus: Tus) -> None:
    """DELETE on a partial upload of a finished final upload is answered 204 and leaves the final upload intact."""
    parts = [tus.create(5, body, upload_concat="partial") for body in (b"hello", b"world")]
    final = tus.create(upload_concat="final;" + " ".join(parts))
    tus.offset_becomes(final, 10)
    tus.delete(parts[0]).expect((204, 404, 410))
    tus.head(final).expect(FOUND, upload_offset=10, upload_length=10)
    tus.holds(final, b"helloworld")


@case(
    "TE4b",
    POLICY,
    _AREA,
    "The final upload could never be finished.",
    also=("concatenation", "concatenation-unfinished"),
)
def deleting_a_part_that_is_needed(tus: Tus) -> None:
    """DELETE on a partial upload that an unfinished final upload needs is answered 409 and deletes nothing."""
    part = tus.create(5, upload_concat="partial")
    final = tus.create(upload_concat=f"final;{part}")
    tus.delete(part).expect(409)
    tus.patch(part, b"hello", upload_offset=0).expect(204, upload_offset=5)
    tus.offset_becomes(final, 5)


@case("TE5", POLICY, _AREA, "The final upload is an upload of its own.", also=("concatenation",))
def deleting_a_final_upload(tus: Tus) -> None:
    """DELETE on a final upload is answered 204 and keeps its partial uploads."""
    part = tus.create(5, b"hello", upload_concat="partial")
    final = tus.create(upload_concat=f"final;{part}")
    tus.offset_becomes(final, 5)
    tus.delete(final).expect(204)
    tus.head(final).expect(GONE)
    tus.head(part).expect(FOUND, upload_offset=5)
