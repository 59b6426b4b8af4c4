"""What real clients need beyond the specification: tus-js-client, tus-py-client, TUSKit, tus-java-client, HTTP
itself."""

from __future__ import annotations

from tests.conformance.case import POLICY, case
from tests.conformance.client import TUS_TYPE, Chunked, Tus, chunked, fields, metadata
from tests.conformance.expectations import FOUND, REFUSED, matching

_AREA = "clients"
_NAMES = "RFC 9110: field names are case-insensitive."


@case("JS1", POLICY, _AREA, "tus-js-client: an offset that does not advance makes it loop endlessly.")
def a_2xx_has_advanced(tus: Tus) -> None:
    """A PATCH with bytes that is answered 2xx returns an offset beyond its own."""
    upload = tus.create(20)
    bodies: list[bytes | Chunked] = [b"hello", b"world", chunked(b"he", b"llo"), b"world"]
    for number, body in enumerate(bodies):
        tus.patch(upload, body, upload_offset=5 * number).expect(204, upload_offset=5 * number + 5)


@case(
    "JS2",
    POLICY,
    _AREA,
    "tus-js-client: HEAD without either is an error, and the upload restarts.",
    also=("creation-defer-length",),
)
def head_has_a_length_or_its_deferral(tus: Tus) -> None:
    """HEAD has exactly one of `Upload-Length` and `Upload-Defer-Length: 1`."""
    tus.head(tus.create(10)).expect(FOUND, upload_length=10, upload_defer_length=None)
    tus.head(tus.create(upload_defer_length=1)).expect(FOUND, upload_length=None, upload_defer_length=1)


@case("JS3", POLICY, _AREA, "tus-js-client under `overridePatchMethod`, behind proxies that know only GET and POST.")
def overridden_patch_in_chunks(tus: Tus) -> None:
    """POST with the override PATCH accepts a chunked body."""
    upload = tus.create(5)
    headers = fields(x_http_method_override="PATCH", content_type=TUS_TYPE)
    tus.post(chunked(b"he", b"llo"), upload, upload_offset=0, **headers).expect(204, upload_offset=5)


@case("JS4", POLICY, _AREA, 'Uppy adds fields of its own, as text: `relativePath` is "null", names are in UTF-8.')
def metadata_of_uppy(tus: Tus) -> None:
    """Metadata in the form of Uppy is accepted and returned."""
    given = metadata(
        relativePath="null", name="снимок 😀.png", type="image/png", filetype="image/png", filename="снимок 😀.png"
    )
    tus.head(tus.create(10, upload_metadata=given)).expect(FOUND, upload_metadata=given)


@case("PY1", POLICY, _AREA, _NAMES)
def names_in_lower_case(tus: Tus) -> None:
    """Header names in lower case are equivalent (tus-py-client)."""
    lower = [("tus-resumable", "1.0.0"), ("upload-length", 5), ("upload-metadata", "a YQ==")]
    created = tus.post(extra=lower, tus_resumable=None).expect(201, location=...)
    upload = tus.resolve(created.header("Location") or "")
    tail = [("tus-resumable", "1.0.0"), ("upload-offset", 0), ("content-type", TUS_TYPE)]
    tus.patch(upload, b"hello", extra=tail, tus_resumable=None, content_type=None).expect(204, upload_offset=5)


@case("PY2", POLICY, _AREA, "tus-py-client takes any HEAD with `Upload-Offset` for success, whatever its status.")
def refused_heads_have_no_offset(tus: Tus) -> None:
    """No error response to HEAD has `Upload-Offset`."""
    tus.head(tus.unknown()).expect(REFUSED, upload_offset=None)
    tus.head(tus.create(10), tus_resumable="0.2.2").expect(REFUSED, upload_offset=None)


@case("PY3", POLICY, _AREA, "tus-py-client takes any POST with `Location` for success, whatever its status.")
def refused_posts_have_no_location(tus: Tus) -> None:
    """No error response to POST has `Location`."""
    tus.post().expect(REFUSED, location=None)
    tus.post(upload_length="x").expect(REFUSED, location=None)
    tus.post(upload_length=10, upload_metadata="a !!!").expect(REFUSED, location=None)
    tus.post(upload_length=10, tus_resumable="0.2.2").expect(REFUSED, location=None)


@case("IOS1", POLICY, _AREA, _NAMES)
def names_in_mixed_case(tus: Tus) -> None:
    """Header names in any case are equivalent (TUSKit writes `TUS-Resumable`)."""
    odd = [("TUS-Resumable", "1.0.0"), ("UPLOAD-LENGTH", 5)]
    tus.post(extra=odd, tus_resumable=None).expect(201, location=...)


@case("IOS2", POLICY, _AREA, "TUSKit takes any `Upload-Offset` for the truth, whatever the status.")
def offsets_on_refusals_are_current(tus: Tus) -> None:
    """If the response to a refused PATCH has `Upload-Offset`, it is the current one."""
    upload = tus.create(10, b"hello")
    for answer in (
        tus.patch(upload, b"x", upload_offset=3),
        tus.patch(upload, b"too much", upload_offset=5),
        tus.patch(upload, b"x", upload_offset=5, content_type="text/plain"),
        tus.patch(upload, b"x", upload_offset="x"),
    ):
        observed = answer.expect(REFUSED).header("Upload-Offset")
        answer.check("Upload-Offset: 5 or absent", observed, observed in (None, "5"))


@case(
    "JAVA1",
    POLICY,
    _AREA,
    "tus-java-client sends chunks with `Expect: 100-continue`, 10 MiB a request, and wants exactly what it sent.",
)
def chunks_after_a_continue(tus: Tus) -> None:
    """Chunked PATCHes that wait for `100 Continue` are appended one after the other."""
    upload = tus.create(300_000)
    for offset in range(0, 300_000, 100_000):
        stream = tus.begin_patch(upload, transfer_encoding="chunked", upload_offset=offset)
        stream.chunk(b"x" * 60_000).chunk(b"x" * 40_000).end().answer().expect(204, upload_offset=offset + 100_000)


@case("HTTP1", POLICY, _AREA, "A connection a request costs a round trip, or three with TLS.")
def one_connection_for_all(tus: Tus) -> None:
    """Creation, PATCH, HEAD and a refused request can share one connection."""
    line = tus.connect()
    created = line.begin("POST", tus.collection, upload_length=10, content_length=0).answer().expect(201)
    upload = tus.resolve(created.header("Location") or "")
    patch = fields(content_type=TUS_TYPE, content_length=5)
    line.begin("PATCH", upload, upload_offset=0, **patch).send(b"hello").answer().expect(204, upload_offset=5)
    line.begin("HEAD", upload).answer().expect(FOUND, upload_offset=5)
    line.begin("HEAD", tus.collection.rstrip("/") + "/no-such-upload").answer().expect(REFUSED)
    line.begin("PATCH", upload, upload_offset=5, **patch).send(b"world").answer().expect(204, upload_offset=10)


@case(
    "HTTP2",
    POLICY,
    _AREA,
    "RFC 9112: a server that supports persistent connections answers pipelined requests in their order.",
)
def pipelined_requests(tus: Tus) -> None:
    """Pipelined requests are answered in order, even with a body between them."""
    upload = tus.create(10)
    line = tus.connect()
    line.begin("PATCH", upload, content_type=TUS_TYPE, content_length=5, upload_offset=0).send(b"hello")
    line.begin("PATCH", upload, content_type=TUS_TYPE, content_length=5, upload_offset=5).send(b"world")
    line.begin("PATCH", upload, content_type=TUS_TYPE, content_length=0, upload_offset=10)
    for offset in (5, 10, 10):
        line.answer().expect(204, upload_offset=offset)
    tus.holds(upload, b"helloworld")


@case("HTTP3", POLICY, _AREA, "RFC 9110: `Date` is sent in 2xx, 3xx and 4xx by a server with a clock; 204 has no body.")
def answers_have_a_date(tus: Tus) -> None:
    """Responses have `Date`, without which `Upload-Expires` cannot be read on a device whose clock is wrong."""
    date = matching(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", "an HTTP date")
    tus.post(upload_length=10).expect(201, date=date)
    tus.head(tus.unknown()).expect(REFUSED, date=date)


@case("HTTP4", POLICY, _AREA, "Slow networks deliver a head in pieces.")
def a_request_in_pieces(tus: Tus) -> None:
    """A PATCH that arrives byte by byte is handled like any other."""
    upload = tus.create(5)
    line = tus.connect().begin(
        "PATCH", upload, content_type=TUS_TYPE, content_length=5, upload_offset=0, piecewise=True
    )
    for letter in (b"h", b"e", b"l", b"l", b"o"):
        line.send(letter)
    line.answer().expect(204, upload_offset=5)
