"""How the body of a PATCH may come and end: cut, chunked, too long, silent, encoded (rows P7 to P10, P14 to P16,
D3)."""

from __future__ import annotations

import time

from tests.conformance.case import POLICY, SHOULD, Limit, case
from tests.conformance.client import TUS_TYPE, Stream, Tus, chunked, fields
from tests.conformance.dialogue import Exchange
from tests.conformance.expectations import FOUND, REFUSED, at_most
from tests.conformance.wire import NoAnswer

_KEEP = "The Server SHOULD always attempt to store as much of the received data as possible."


@case("P7a", SHOULD, "core", _KEEP)
def kept_when_closed(tus: Tus) -> None:
    """The bytes received before the client stalled and closed the connection are kept."""
    upload = tus.create(1000)
    stream = tus.begin_patch(upload, content_length=1000, upload_offset=0).send(b"x" * 300)
    time.sleep(0.3)  # a client that dies is silent first; the next cases leave no such time
    stream.cut()
    tus.offset_becomes(upload, 300)
    tus.patch(upload, b"y" * 700, upload_offset=300).expect(204, upload_offset=1000)
    tus.holds(upload, b"x" * 300 + b"y" * 700)


@case("P7b", SHOULD, "core", _KEEP)
def kept_when_half_closed(tus: Tus) -> None:
    """The bytes received before the client half-closed the connection, still reading, are kept."""
    upload = tus.create(1000)
    stream = tus.begin_patch(upload, content_length=1000, upload_offset=0).send(b"x" * 300).half_close()
    tus.offset_becomes(upload, 300)
    stream.wire.close()


@case("P7c", SHOULD, "core", _KEEP)
def kept_when_chunks_are_cut(tus: Tus) -> None:
    """Complete chunks received before the connection closed are kept, and at most part of an incomplete chunk."""
    upload = tus.create(1000)
    stream = tus.begin_patch(upload, transfer_encoding="chunked", upload_offset=0)
    stream.chunk(b"x" * 300).send(b"64\r\n" + b"x" * 20).cut()
    observed = tus.eventually(lambda: tus.head(upload), lambda got: got.number("Upload-Offset") >= 300, 5)
    offset = observed.expect(FOUND, upload_offset=at_most(320)).number("Upload-Offset")
    observed.check("at least the 300 bytes of whole chunks", offset, offset >= 300)
    tus.patch(upload, b"y" * (1000 - offset), upload_offset=offset).expect(204, upload_offset=1000)


@case("P7d", SHOULD, "core", _KEEP)
def kept_when_much_arrived_at_once(tus: Tus) -> None:
    """Half a megabyte sent at once and then cut is kept completely, even if the disk is slower than the network."""
    upload = tus.create(1 << 20)
    tus.begin_patch(upload, content_length=1 << 20, upload_offset=0).send(b"x" * (1 << 19)).cut()
    tus.offset_becomes(upload, 1 << 19)


@case("P7e", SHOULD, "core", _KEEP)
def usable_after_a_reset(tus: Tus) -> None:
    """After a reset (RST) of a PATCH the upload continues from the offset that HEAD returns."""
    upload = tus.create(1000)
    tus.begin_patch(upload, content_length=1000, upload_offset=0).send(b"x" * 300).reset()
    observed = tus.head(upload).expect(FOUND, upload_offset=at_most(300)).number("Upload-Offset")
    tus.patch(upload, b"x" * (1000 - observed), upload_offset=observed).expect(204, upload_offset=1000)
    tus.holds(upload, b"x" * 1000)


@case("P8", POLICY, "core", "The request cannot succeed, so it is refused before the bytes are sent.")
def a_declared_length_beyond_the_end(tus: Tus) -> None:
    """A PATCH whose `Content-Length` exceeds the remaining length is answered 413 without reading the body, and nothing
    changes."""
    upload = tus.create(10, b"hello")
    stream = tus.connect().begin(
        "PATCH", upload, content_type=TUS_TYPE, content_length=6, upload_offset=5, expect="100-continue"
    )
    refused = stream.answer().expect(413)
    refused.expect_no_continue()
    tus.patch(upload, b"worlds", upload_offset=5).expect(413)
    tus.head(upload).expect(FOUND, upload_offset=5)
    tus.patch(upload, b"world", upload_offset=5).expect(204, upload_offset=10)


@case("P9", POLICY, "core", "Bytes beyond the length must not count as a finished upload.")
def chunks_beyond_the_end(tus: Tus) -> None:
    """A chunked PATCH that exceeds the length is answered 413 and does not complete the upload."""
    upload = tus.create(10)
    tus.patch(upload, chunked(b"hello", b" world and more"), upload_offset=0).expect(413)
    observed = tus.head(upload).expect(FOUND, upload_offset=at_most(9), upload_length=10).number("Upload-Offset")
    tus.patch(upload, b"0123456789"[observed:], upload_offset=observed).expect(204, upload_offset=10)


@case("D3", POLICY, "core", "The last acknowledgement is lost most often, and all bytes are stored.")
def all_bytes_and_then_a_cut(tus: Tus) -> None:
    """A chunked PATCH with exactly the remaining bytes that is cut before its end completes the upload."""
    upload = tus.create(10)
    tus.begin_patch(upload, transfer_encoding="chunked", upload_offset=0).chunk(b"0123456789").cut()
    tus.offset_becomes(upload, 10)
    tus.patch(upload, b"", upload_offset=10).expect(204, upload_offset=10)
    tus.holds(upload, b"0123456789")


@case("P10", POLICY, "core", "tus-java-client always sends chunks.")
def chunks_that_fit(tus: Tus) -> None:
    """A chunked PATCH within the length is answered 204, also with chunk extensions and odd chunk sizes."""
    upload = tus.create(26)
    tus.patch(upload, chunked(b"a", b"bcdefgh", b"ij"), upload_offset=0).expect(204, upload_offset=10)
    stream = tus.begin_patch(upload, transfer_encoding="chunked", upload_offset=10)
    stream.send(b"3;name=value\r\nklm\r\n").send(b"00D\r\nnopqrstuvwxyz\r\n").end()
    stream.answer().expect(204, upload_offset=26)
    tus.holds(upload, b"abcdefghijklmnopqrstuvwxyz")


@case("P14", SHOULD, "core", "A timeout SHOULD be handled by closing the underlying connection.", needs=Limit.IDLE)
def a_stalled_body(tus: Tus) -> None:
    """A stalled body times out: the connection is closed and the received bytes are kept."""
    upload = tus.create(1000)
    stream = tus.begin_patch(upload, content_length=1000, upload_offset=0).send(b"x" * 300)
    ended = stream.answer()
    ended.check("4xx, 5xx or closed", ended.status or ended.answer, ended.status >= 400 or _is_closed(ended))
    tus.head(upload).expect(FOUND, upload_offset=300)
    ended.check("then closed", "still open", stream.wire.is_closed_within(tus.subject.patience_seconds))


@case("P15", POLICY, "core", "If the server decoded, its offset and the client's would count different bytes.")
def a_content_encoding(tus: Tus) -> None:
    """A PATCH with a `Content-Encoding` is answered 415 or stored unchanged; `identity` is no encoding."""
    upload = tus.create(10)
    encoded = tus.patch(upload, b"hello", upload_offset=0, content_encoding="gzip").expect((204, 415))
    kept = 5 if encoded.status == 204 else 0
    tus.head(upload).expect(FOUND, upload_offset=kept)
    tus.patch(upload, b"world", upload_offset=kept, content_encoding="identity").expect(204, upload_offset=kept + 5)


@case("P16a", POLICY, "core", "RFC 9110 lets a server refuse a PUT that means a part; here the offset says which part.")
def a_content_range(tus: Tus) -> None:
    """A PATCH with `Content-Range` is answered 400 and appends nothing."""
    upload = tus.create(10)
    tus.patch(upload, b"hello", upload_offset=0, content_range="bytes 0-4/10").expect(400)
    tus.head(upload).expect(FOUND, upload_offset=0)


@case(
    "P16b", POLICY, "core", "RFC 9112: what is not understood is answered 501; passed on undecoded it would be stored."
)
def another_transfer_coding(tus: Tus) -> None:
    """A PATCH with `Transfer-Encoding: gzip, chunked` is answered 400 or 501 and appends nothing."""
    upload = tus.create(10)
    stream = tus.connect().begin(
        "PATCH", upload, content_type=TUS_TYPE, transfer_encoding="gzip, chunked", upload_offset=0
    )
    stream.chunk(b"hello").end().answer().expect((400, 501))
    tus.head(upload).expect(FOUND, upload_offset=0)


@case("P16c", POLICY, "core", "RFC 9112: two framings in one request are how requests are smuggled past a proxy.")
def two_framings(tus: Tus) -> None:
    """A PATCH with both `Content-Length` and `Transfer-Encoding`, or two lengths, is answered 400 and appends
    nothing."""
    upload = tus.create(10)
    both = fields(content_type=TUS_TYPE, transfer_encoding="chunked", content_length=5)
    tus.connect().begin("PATCH", upload, upload_offset=0, **both).chunk(b"hello").end().answer().expect(400)
    for lengths in (("5", "6"), ("5,6",), ("+5",), ("5x",)):
        extra = [("Content-Length", value) for value in lengths]
        tus.connect().begin("PATCH", upload, upload_offset=0, content_type=TUS_TYPE, extra=extra).send(
            b"hello"
        ).answer().expect(400)
    tus.head(upload).expect(FOUND, upload_offset=0)


@case("D5c", POLICY, "core", "A chunked body without an end, or with nonsense in it, is not over.")
def broken_chunks(tus: Tus) -> None:
    """An invalid chunk size is answered 400 or by closing; only bytes before it may be kept."""
    upload = tus.create(100)
    for size in (b"xyz", b"-5", b"0x5", b"5 5"):
        observed = tus.head(upload).number("Upload-Offset")
        stream = tus.begin_patch(upload, transfer_encoding="chunked", upload_offset=observed)
        answer = stream.chunk(b"abc").send(size + b"\r\nhello\r\n0\r\n\r\n").answer()
        refused = answer.status in REFUSED or answer.status == 0
        answer.check("4xx, or closed without an answer", answer.status or answer.answer, refused)
        after = tus.head(upload).expect(FOUND, upload_offset=at_most(observed + 3))
        after.check(
            f"{observed} or {observed + 3}", after.number("Upload-Offset"), after.number("Upload-Offset") >= observed
        )


@case("D5d", POLICY, "core", "tus-java-client and curl wait for it before they send.")
def continue_when_accepted(tus: Tus) -> None:
    """`Expect: 100-continue` on an acceptable PATCH is answered 100, and 204 after the body."""
    upload = tus.create(5)
    stream: Stream = tus.connect().begin(
        "PATCH", upload, content_type=TUS_TYPE, content_length=5, upload_offset=0, expect="100-continue"
    )
    interim = stream.wire.interim(tus.subject.patience_seconds)
    stream.send(b"hello").answer().expect(204, upload_offset=5).check("100 Continue before", interim, interim == 100)


def _is_closed(ended: Exchange) -> bool:
    return isinstance(ended.answer, NoAnswer) and "no bytes for" not in ended.answer.what
