"""POST: lengths, `Location`, limits (rows CR1 to CR6, CR13, CR14, D6)."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from tests.conformance.case import MUST, POLICY, Limit, case
from tests.conformance.cases.patch import NO_NUMBERS
from tests.conformance.client import Tus, fields
from tests.conformance.expectations import FOUND, REFUSED, without


@case(
    "CR1a",
    MUST,
    "creation",
    "The Server MUST acknowledge a successful upload creation with the `201 Created` status. The Server MUST set "
    "the `Location` header to the URL of the created resource.",
)
def post_creates(tus: Tus) -> None:
    """POST with `Upload-Length` is answered 201 with a `Location` at offset 0; each POST creates another upload."""
    first = tus.post(upload_length=10).expect(201, location=...)
    second = tus.post(upload_length=10).expect(201, location=...)
    second.check("another Location", second.header("Location"), first.header("Location") != second.header("Location"))
    tus.head(tus.resolve(first.header("Location") or "")).expect(FOUND, upload_offset=0, upload_length=10)


@case(
    "CR1b",
    POLICY,
    "creation",
    "Clients keep the connection for the PATCH; without framing they would wait for it to close.",
)
def the_201_is_framed(tus: Tus) -> None:
    """The 201 has `Content-Length: 0`, and the connection accepts the next request."""
    line = tus.connect()
    created = line.begin("POST", tus.collection, upload_length=10, content_length=0).answer()
    created.expect(201, location=..., content_length=0)
    upload = tus.resolve(created.header("Location") or "")
    line.begin("HEAD", upload).answer().expect(FOUND, upload_offset=0)


@case(
    "CR2a",
    MUST,
    "creation",
    "The request MUST include one of the following headers: a) `Upload-Length` … b) `Upload-Defer-Length: 1`",
)
def no_length_at_all(tus: Tus) -> None:
    """POST with neither a length nor its deferral is refused and creates nothing."""
    tus.post().expect(REFUSED, location=None)


@case("CR2b", POLICY, "creation", "The client's fault, and not one of state.")
def no_length_is_400(tus: Tus) -> None:
    """The status of that refusal is 400."""
    tus.post().expect(400, location=None)


@case("CR3", POLICY, "creation", "Which of the two is meant cannot be known.", also=("creation-defer-length",))
def both_length_and_deferral(tus: Tus) -> None:
    """POST with both a length and its deferral is answered 400."""
    tus.post(upload_length=10, upload_defer_length=1).expect(400, location=None)


@case(
    "CR4a",
    MUST,
    "creation",
    "If the length of the upload exceeds the maximum, … the Server MUST respond with the `413 Request Entity Too "
    "Large` status.",
    needs=Limit.ANY_LENGTH,
)
def longer_than_the_limit(tus: Tus) -> None:
    """POST with a length above `Tus-Max-Size` is answered 413; a length equal to it is accepted."""
    limit = tus.subject.length_max or 0
    tus.post(upload_length=limit + 1).expect(413, location=None)
    tus.post(upload_length=min(limit, (1 << 63) - 1)).expect(201, location=...)


@case("CR4b", POLICY, "creation", "The user needs to know the limit.", needs=Limit.ANY_LENGTH)
def the_limit_is_returned(tus: Tus) -> None:
    """That 413 has `Tus-Max-Size`."""
    limit = tus.subject.length_max or 0
    tus.post(upload_length=limit + 1).expect(413, tus_max_size=limit)


@case(
    "CR5",
    MUST,
    "creation",
    "The `Upload-Length` header MAY be set to 0 … Such an upload is immediately complete after its creation without"
    " transferring data using `PATCH` requests.",
)
def an_empty_upload(tus: Tus) -> None:
    """POST with the length 0 creates an upload that is complete at once."""
    upload = tus.create(0)
    tus.head(upload).expect(FOUND, upload_offset=0, upload_length=0)
    tus.holds(upload, b"")


@case(
    "CR6a",
    POLICY,
    "creation",
    "The value MUST be a non-negative integer: ASCII digits, nothing a lenient parser reads into them.",
)
def an_invalid_length(tus: Tus) -> None:
    """POST with an `Upload-Length` that is not a plain number up to 2⁶³-1 is answered 400 (413 if merely too large)."""
    for value in NO_NUMBERS:
        allowed = (400, 413) if isinstance(value, str) and value.isdigit() and len(value) > 3 else 400
        tus.post(upload_length=value).expect(allowed, location=None)


@case("CR6b", POLICY, "creation", "The greatest length a file can have; the limit decides about it, not the parser.")
def the_largest_length(tus: Tus) -> None:
    """POST with the length 2⁶³-1 is answered 201, or 413 if there is a limit."""
    tus.post(upload_length=(1 << 63) - 1).expect(201 if tus.subject.length_max is None else (201, 413))


@case("CR6c", POLICY, "creation", "RFC 9110: white space around a field value is no part of it.")
def white_space_around_a_number(tus: Tus) -> None:
    """Spaces and tabs around a number are ignored."""
    created = tus.post(upload_length="  \t10 \t").expect(201, location=...)
    tus.head(tus.resolve(created.header("Location") or "")).expect(FOUND, upload_length=10)


@case("D6b", POLICY, "creation", "Two parsers on the way may choose differently between two values.")
def repeated_headers(tus: Tus) -> None:
    """POST with a repeated singleton header is answered 400 and creates nothing."""
    tus.post(extra=[("Upload-Length", 10), ("Upload-Length", 20)]).expect(400, location=None)
    tus.post(extra=[("Upload-Length", 10), ("Upload-Length", 10)]).expect(400, location=None)
    tus.post(upload_length=10, extra=[("Upload-Metadata", "a YQ=="), ("Upload-Metadata", "b Yg==")]).expect(400)
    tus.post(extra=[("Upload-Defer-Length", 1), ("Upload-Defer-Length", 1)]).expect(400, location=None)
    tus.post(upload_length=10, extra=[("Upload-Concat", "partial"), ("Upload-Concat", "partial")]).expect(400)


@case(
    "CR13a",
    MUST,
    "creation",
    "The Server MUST set the `Location` header to the URL of the created resource. This URL MAY be absolute or "
    "relative.",
)
def the_location_leads_to_the_upload(tus: Tus) -> None:
    """`Location`, resolved against the request's URL, is on the requested server and identifies the upload."""
    created = tus.post(upload_length=10).expect(201, location=...)
    location = created.header("Location") or ""
    got, requested = urlsplit(urljoin(tus.subject.url, location)), urlsplit(tus.subject.url)
    created.check(f"at {requested.netloc}", location, (got.scheme, got.netloc) == (requested.scheme, requested.netloc))
    tus.head(tus.resolve(location)).expect(FOUND, upload_offset=0)


@case(
    "CR13b",
    POLICY,
    "creation",
    "Any client can write these headers: a Location from them sends the bytes to the host they name.",
)
def forwarded_headers_are_not_trusted(tus: Tus) -> None:
    """`Forwarded` and `X-Forwarded-*` from a client that is not a trusted proxy do not appear in `Location`."""
    evil = "evil.example"
    for headers in (
        fields(x_forwarded_host=evil, x_forwarded_proto="https"),
        fields(forwarded=f"host={evil};proto=https"),
        fields(x_forwarded_host=evil, x_forwarded_prefix=f"/{evil}"),
        fields(x_original_url=f"//{evil}/", x_forwarded_server=evil),
    ):
        tus.post(upload_length=10, **headers).expect(201, location=without(evil))


@case("CR13c", POLICY, "creation", "`Host` is the client's word too: behind a cache it poisons the answer for others.")
def the_host_is_not_trusted(tus: Tus) -> None:
    """A foreign `Host` does not appear in `Location`."""
    evil = "evil.example"
    created = tus.post(upload_length=10, host=evil)
    created.check("no 5xx, and an answer", created.status, 0 < created.status < 500)
    created.expect(created.status, location=without(evil))


@case("CR14", POLICY, "creation", "A proxy's odd header is not the client's fault.")
def odd_forwarded_headers(tus: Tus) -> None:
    """Invalid forwarding headers do not cause a refusal."""
    for headers in (
        fields(x_forwarded_proto="javascript"),
        fields(x_forwarded_proto="https, http", x_forwarded_host="a, b"),
        fields(forwarded='for="[::1]:8";host="a\\"b";;;'),
        fields(x_forwarded_host="a b/c?d#e@f"),
    ):
        created = tus.post(upload_length=10, **headers).expect(201, location=...)
        tus.head(tus.resolve(created.header("Location") or "")).expect(FOUND, upload_offset=0)
