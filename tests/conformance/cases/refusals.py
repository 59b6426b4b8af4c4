"""Refusing a body that is on its way: early, readable, and without taking it all (row D5)."""

from __future__ import annotations

from tests.conformance.case import POLICY, case
from tests.conformance.client import TUS_TYPE, Tus, fields
from tests.conformance.expectations import FOUND

_MIB = 1 << 20


@case("D5a", POLICY, "core", "RFC 9110: `Expect: 100-continue` exists so that a refusal costs no body.")
def refused_before_the_body(tus: Tus) -> None:
    """A PATCH that its head alone shows to be invalid is refused without `100 Continue`: offset, type, length, unknown
    upload."""
    upload = tus.create(10)
    right = fields(content_type=TUS_TYPE, content_length=5, upload_offset=0)
    for status, wrong in (
        (409, fields(upload_offset=3)),
        (415, fields(content_type="text/plain")),
        (413, fields(content_length=11)),
        (400, fields(upload_offset="x")),
    ):
        line = tus.connect().begin("PATCH", upload, expect="100-continue", **{**right, **wrong})
        refused = line.answer().expect(status)
        refused.expect_no_continue()
    line = tus.connect().begin("PATCH", tus.unknown(), expect="100-continue", **right)
    refused = line.answer().expect(404)
    refused.expect_no_continue()


@case("D5b", POLICY, "core", "A connection reset destroys the answer, and the client retries endlessly.")
def a_refusal_is_readable_after_the_body(tus: Tus) -> None:
    """A client that writes 200 KiB before it reads still receives the 409: the connection is not reset before."""
    upload = tus.create(10 * _MIB)
    for _ in range(3):
        line = tus.connect()
        line.begin("PATCH", upload, content_type=TUS_TYPE, content_length=200 * 1024, upload_offset=7)
        for _ in range(25):
            line.send(b"x" * 8192)
        line.answer().expect(409).check("all written", line.wire.broken or "all", line.wire.broken is None)
    tus.head(upload).expect(FOUND, upload_offset=0)


@case("D5f", POLICY, "core", "tus-js-client under Node reads while it writes: it must see 413, not ECONNRESET.")
def a_refusal_is_readable_while_sending(tus: Tus) -> None:
    """A client that reads while it sends 64 MiB receives the refusal."""
    upload = tus.create(10)
    line = tus.connect()
    line.begin("PATCH", upload, content_type=TUS_TYPE, content_length=64 * _MIB, upload_offset=0)
    for _ in range(64):
        line.wire.send(b"x" * _MIB, until_answered=True)
    line.answer().expect(413)
    tus.head(upload).expect(FOUND, upload_offset=0)


@case("D5g", POLICY, "core", "A refused client could otherwise use the bandwidth without limit.")
def a_refused_body_is_not_read_to_its_end(tus: Tus) -> None:
    """Of a refused body of 64 MiB that the client keeps sending, the server reads at most 16 MiB, and closes."""
    upload = tus.create(10)
    line = tus.connect()
    line.begin("PATCH", upload, content_type=TUS_TYPE, content_length=64 * _MIB, upload_offset=0)
    before = line.wire.sent_bytes
    for _ in range(64):
        line.wire.send(b"x" * _MIB)
    taken = (line.wire.sent_bytes - before) / _MIB
    observed = tus.head(upload).expect(FOUND, upload_offset=0)
    observed.check("at most 16 MiB taken", f"{taken:.1f} MiB taken, then: {line.wire.broken or 'nothing'}", taken <= 16)
