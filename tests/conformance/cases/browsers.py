"""Cross-origin requests (rows B1 to B5, D8): without them no browser uploads, and errors look like a dead network."""

from __future__ import annotations

from tests.conformance.case import POLICY, case
from tests.conformance.client import Tus, fields
from tests.conformance.dialogue import Exchange
from tests.conformance.expectations import FOUND, listing, one_of

_AREA = "browsers"
_ORIGIN = "https://app.example"
_FROM = fields(origin=_ORIGIN)
_PREFLIGHT = fields(**_FROM, access_control_request_method="PATCH", access_control_request_headers="upload-offset")
_METHODS = ("POST", "HEAD", "PATCH", "DELETE", "OPTIONS")
_REQUEST_HEADERS = (
    "Authorization", "Content-Type", "Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata",
    "Upload-Defer-Length", "Upload-Concat", "X-HTTP-Method-Override", "X-Requested-With", "X-Request-ID",
)  # fmt: skip
_RESPONSE_HEADERS = (
    "Location", "Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Upload-Offset", "Upload-Length",
    "Upload-Metadata", "Upload-Defer-Length", "Upload-Concat",
)  # fmt: skip


@case(
    "B1a",
    POLICY,
    _AREA,
    "A CORS layer that answers preflights by itself forgets that OPTIONS is a request of tus as well.",
)
def preflight(tus: Tus) -> None:
    """A preflight on the collection or an upload is answered 200 or 204 with the CORS headers and those of tus."""
    for target in (tus.collection, tus.create(10)):
        tus.options(target, **_PREFLIGHT).expect(
            FOUND,
            access_control_allow_origin=one_of("*", _ORIGIN),
            access_control_allow_methods=listing(*_METHODS),
            tus_version=listing("1.0.0"),
        )


@case("B1b", POLICY, _AREA, "A preflight a request doubles the latency of every chunk.")
def preflights_can_be_cached(tus: Tus) -> None:
    """The response to a preflight has `Access-Control-Max-Age`."""
    tus.options(**_PREFLIGHT).expect(FOUND, access_control_max_age=...)


@case("B2a", POLICY, _AREA, "A header that is not allowed stops the request in the browser.")
def headers_that_may_be_sent(tus: Tus) -> None:
    """The preflight allows every header that tus clients send."""
    tus.options(**_PREFLIGHT).expect(FOUND, access_control_allow_headers=listing(*_REQUEST_HEADERS))


@case("B2b", POLICY, _AREA, "A header that is not allowed stops the request in the browser.", also=("checksum",))
def checksums_may_be_sent(tus: Tus) -> None:
    """The preflight allows `Upload-Checksum`."""
    tus.options(**_PREFLIGHT).expect(FOUND, access_control_allow_headers=listing("Upload-Checksum"))


@case("B3a", POLICY, _AREA, "A header that is not exposed does not exist for the page.")
def headers_that_may_be_read(tus: Tus) -> None:
    """Responses expose the headers of tus."""
    exposed = listing(*_RESPONSE_HEADERS)
    tus.post(upload_length=10, **_FROM).expect(201, access_control_expose_headers=exposed)
    tus.head(tus.create(10), **_FROM).expect(FOUND, access_control_expose_headers=exposed)


@case("B3b", POLICY, _AREA, "A header that is not exposed does not exist for the page.", also=("expiration",))
def the_expiry_may_be_read(tus: Tus) -> None:
    """Responses expose `Upload-Expires`."""
    tus.post(upload_length=10, **_FROM).expect(201, access_control_expose_headers=listing("Upload-Expires"))


@case("B4", POLICY, _AREA, "Without it a page sees status 0, takes it for a dead network and tries again without end.")
def refusals_may_be_read(tus: Tus) -> None:
    """Error responses of every kind have `Access-Control-Allow-Origin` too."""
    upload = tus.create(5, **_FROM)
    _readable(tus.head(tus.unknown(), **_FROM), (404, 410, 403))
    _readable(tus.post(**_FROM), (400,))
    _readable(tus.post(upload_length="x", **_FROM), (400,))
    _readable(tus.post(upload_length=10, tus_resumable="0.2.2", **_FROM), (400, 412))
    _readable(tus.patch(upload, b"hello", upload_offset=3, **_FROM), (409,))
    _readable(tus.patch(upload, b"hello", upload_offset=0, content_type="text/plain", **_FROM), range(400, 500))
    _readable(tus.patch(upload, b"hello world", upload_offset=0, **_FROM), range(400, 500))
    _readable(tus.request("PUT", upload, b"", **_FROM), range(400, 500))


@case(
    "B5",
    POLICY,
    _AREA,
    "Fetch: `*` and credentials exclude each other; a cache must not give one origin's answer to another.",
)
def origins_and_caches(tus: Tus) -> None:
    """A response that repeats the origin has `Vary: Origin`, and `*` is never combined with credentials."""
    for answer in (tus.options(**_PREFLIGHT).expect(FOUND), tus.head(tus.create(10), **_FROM).expect(FOUND)):
        origin = answer.header("Access-Control-Allow-Origin")
        credentials, vary = answer.header("Access-Control-Allow-Credentials"), answer.header("Vary") or ""
        names = [name.strip().lower() for name in vary.split(",")]
        right = "origin" in names if origin not in ("*", None) else credentials != "true"
        answer.check("* without credentials, or Vary: Origin", f"{origin}, {credentials}, {vary!r}", right)


@case("B6", POLICY, _AREA, "curl, servers and monitors send no Origin.")
def without_an_origin(tus: Tus) -> None:
    """Without `Origin` everything works as well."""
    upload = tus.create(5)
    tus.patch(upload, b"hello", upload_offset=0).expect(204, upload_offset=5)


def _readable(answer: Exchange, status: tuple[int, ...] | range) -> None:
    answer.expect(status, access_control_allow_origin=one_of("*", _ORIGIN))
