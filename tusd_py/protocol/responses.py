"""Format the outcome of a request as a tus 1.0 response: status, headers, body. Nothing is decided here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tusd_py.model.caller import HeaderList
from tusd_py.model.frozen import frozen
from tusd_py.model.upload import Kind, Upload
from tusd_py.protocol.access_errors import Unauthenticated
from tusd_py.protocol.checksum import ALGORITHMS
from tusd_py.protocol.dates import format_date
from tusd_py.protocol.downloads import content_headers, validator_headers
from tusd_py.protocol.errors import (
    MaxSizeExceeded,
    MethodNotAllowed,
    RangeNotSatisfiable,
    TusError,
    UnsupportedVersion,
    UploadGone,
)
from tusd_py.protocol.outcomes import (
    Appended,
    Content,
    Created,
    Discovered,
    Downloaded,
    Inspected,
    Outcome,
    Redirected,
    ResponseOverride,
    Terminated,
)
from tusd_py.protocol.parsing import VERSION
from tusd_py.protocol.rules import Limits

_VERSION = VERSION.encode("ascii")
_RESUMABLE = (b"tus-resumable", _VERSION)
_TRAILER_EXTENSION = "checksum-trailer"
_NO_BODY = (b"content-length", b"0")
#: Up to this size the response to HEAD stays below 4 KiB with the headers that others add (CORS, date, the draft's):
#: many proxies answer 502 instead of a response with a larger head.
_HEAD_BYTES_MAX = 3000
_NO_STORE = (b"cache-control", b"no-store")
_TEXT = (b"content-type", b"text/plain; charset=utf-8")

# RFC 9110, 5.6.2 and 5.5: names and values of headers that a hook may set. Framing headers are never overridden.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\xa0-\xff]*")
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"trailer"})


@dataclass(slots=True)
class Response:
    """A complete response for an ASGI server: header names in lower case, framing headers included."""

    status: int
    headers: HeaderList
    body: bytes | Content = b""


@frozen()
class ResponseContext:
    """The methods of the request: ``method`` after the override, ``real_method`` on the request line."""

    method: str
    real_method: str

    @property
    def is_overridden(self) -> bool:
        return self.method != self.real_method

    @property
    def wants_no_body(self) -> bool:
        """RFC 9110, 9.3.2: a response to HEAD has no body; this includes HEAD by override."""
        return self.method == "HEAD" or self.real_method == "HEAD"


def extensions(limits: Limits, *, expiration: bool = True, trailers: bool = False) -> tuple[str, ...]:
    """The value of ``Tus-Extension``: the extensions that are enabled and that the HTTP server supports."""
    named = {
        "creation": True,
        "creation-with-upload": limits.creation_with_upload,
        "creation-defer-length": True,
        "termination": limits.termination,
        "expiration": expiration,
        "checksum": True,
        _TRAILER_EXTENSION: trailers,
        "concatenation": limits.concatenation,
        "concatenation-unfinished": limits.concatenation,
    }
    return tuple(name for name, is_on in named.items() if is_on)


@dataclass(frozen=True, slots=True, kw_only=True)
class Formatter:
    """Formats tus 1.0 responses."""

    limits: Limits
    extensions: tuple[str, ...]
    algorithms: tuple[str, ...] = ALGORITHMS
    inline_types: frozenset[str] = frozenset()

    def format_outcome(self, outcome: Outcome, context: ResponseContext, location: str = "") -> Response:
        """The response to a successful request; ``location`` is the URL of the new upload after a creation."""
        match outcome:
            case Created():
                headers = self.created_headers(outcome.upload, location, took_body=outcome.took_body)
                response = apply_override(Response(201, headers), outcome.override)
            case Appended():
                response = apply_override(self._appended(outcome.upload), outcome.override)
            case Inspected():
                response = self._inspected(outcome.upload, context)
            case Downloaded():
                response = self._downloaded(outcome)
            case Redirected():
                location_header = (b"location", outcome.url.encode("latin-1"))
                response = Response(307, [location_header, _NO_STORE, (b"content-length", b"0")])
            case Terminated():
                response = apply_override(Response(204, [_RESUMABLE]), outcome.override)
            case Discovered():  # pragma: no branch: there is no other
                response = self._discovered(outcome)
        return adapt_to_method(response, context)

    def format_refusal(self, error: TusError, context: ResponseContext) -> Response:
        """The answer to a request that the protocol refuses."""
        status = self.limits.gone_status if isinstance(error, UploadGone) else error.status
        headers = self._error_headers(error)
        if error.upload is not None and context.method != "HEAD":
            # Never on HEAD: tus-py-client takes any status that has an offset for success.
            headers += _offset(error.upload)
            headers += _expires(error.upload)
        return self.format_error(status, error.code, str(error), context, headers, error.override)

    def format_error(
        self,
        status: int,
        code: str,
        sentence: str,
        context: ResponseContext,
        headers: Sequence[tuple[bytes, bytes]] = (),
        override: ResponseOverride | None = None,
    ) -> Response:
        """An error response. Without ``no-store`` several of these statuses could be cached."""
        body = f"{code}: {sentence}\n".encode()
        framing = [_TEXT, (b"content-length", b"%d" % len(body))]
        response = Response(status, [_RESUMABLE, _NO_STORE, *headers, *framing], body)
        return adapt_to_method(apply_override(response, override), context)

    def _error_headers(self, error: TusError) -> HeaderList:
        """The headers that belong to the error."""
        match error:
            case UnsupportedVersion():
                # Core, Tus-Resumable: the Server "MUST respond with the 412 Precondition Failed status and MUST
                # include the Tus-Version header into the response".
                return [(b"tus-version", _VERSION)]
            case Unauthenticated():
                return [(b"www-authenticate", error.challenge.encode("ascii"))]
            case MethodNotAllowed():
                return [(b"allow", ", ".join(error.allowed).encode("ascii"))]
            case MaxSizeExceeded():
                return [(b"tus-max-size", b"%d" % error.length_max)]
            case RangeNotSatisfiable():
                return [(b"content-range", b"bytes */%d" % error.length)]
        return [(b"retry-after", b"%d" % error.retry_after_seconds)] if error.retry_after_seconds else []

    def created_headers(self, upload: Upload, location: str, *, took_body: bool) -> HeaderList:
        """The headers of the 201 for ``upload``, whose URL is ``location``."""
        headers = [_RESUMABLE, (b"location", location.encode("ascii")), _NO_BODY]
        if took_body:
            headers += _offset(upload)
        if upload.concat_header is not None:
            headers.append((b"upload-concat", upload.concat_header.encode("latin-1")))
        return headers + _expires(upload)

    def _appended(self, upload: Upload) -> Response:
        # RFC 9110, 8.6: no Content-Length in a 204.
        return Response(204, [_RESUMABLE, *_offset(upload), *_expires(upload)])

    def _inspected(self, upload: Upload, context: ResponseContext) -> Response:
        # Core, HEAD: "The Server MUST prevent the client and/or proxies from caching the response".
        headers = [_RESUMABLE, _NO_STORE, *_offset(upload)]
        if upload.length is None:
            headers.append((b"upload-defer-length", b"1"))
        else:
            headers.append((b"upload-length", b"%d" % upload.length))
        if upload.metadata_header is not None:
            headers.append((b"upload-metadata", upload.metadata_header.encode("latin-1")))
        if upload.concat_header is not None:
            headers.append((b"upload-concat", upload.concat_header.encode("latin-1")))
        if upload.is_complete and self.limits.downloads:
            # RFC 9110, 9.3.2: "the same header fields in response to a HEAD request as ... for a GET"; but tus has
            # its own Cache-Control, and Content-Length is left out because it would describe the body of a GET.
            headers += [field for field in validator_headers(upload) if field[0] != b"cache-control"]
            described = content_headers(upload, self.inline_types)
            if _size(headers) + _size(described) > _HEAD_BYTES_MAX:
                # It repeats the name in the metadata, perhaps in three times as many characters.
                described = [field for field in described if field[0] != b"content-disposition"]
            headers += described
        headers += _expires(upload)
        if context.is_overridden:
            headers.append(_NO_BODY)
        return Response(200, headers)

    def _downloaded(self, downloaded: Downloaded) -> Response:
        upload = downloaded.upload
        headers = [_RESUMABLE, *validator_headers(upload)]
        if downloaded.body is None:
            return Response(304, headers)
        headers += content_headers(upload, self.inline_types)
        headers.append((b"content-length", b"%d" % (downloaded.stop - downloaded.start)))
        if not downloaded.partial:
            return Response(200, headers, downloaded.body)
        span = b"bytes %d-%d/%d" % (downloaded.start, downloaded.stop - 1, upload.offset)
        return Response(206, [*headers, (b"content-range", span)], downloaded.body)

    def _discovered(self, discovered: Discovered) -> Response:
        headers = [_RESUMABLE, (b"tus-version", _VERSION)]
        names = [name for name in self.extensions if discovered.trailers or name != _TRAILER_EXTENSION]
        if names:
            headers.append((b"tus-extension", ",".join(names).encode("ascii")))
        if self.limits.length_max:
            headers.append((b"tus-max-size", b"%d" % self.limits.length_max))
        headers.append((b"tus-checksum-algorithm", ",".join(self.algorithms).encode("ascii")))
        return Response(204, headers)


def _size(headers: HeaderList) -> int:
    """The size of these headers in a response, in bytes."""
    return sum(len(name) + len(value) + 4 for name, value in headers)


def _offset(upload: Upload) -> HeaderList:
    """Concatenation: "The response to a HEAD request for a final upload SHOULD NOT contain the Upload-Offset header
    unless the concatenation has been successfully finished."
    """
    if upload.kind is Kind.FINAL and not upload.is_complete:
        return []
    return [(b"upload-offset", b"%d" % upload.offset)]


def _expires(upload: Upload) -> HeaderList:
    """Expiration: "MUST be included in every PATCH response if the upload is going to expire"."""
    if upload.expires_at is None or upload.is_complete or upload.has_ended:
        return []
    return [(b"upload-expires", format_date(upload.expires_at).encode("ascii"))]


def apply_override(response: Response, override: ResponseOverride | None) -> Response:
    """Apply the changes of a hook to ``response`` and return it. Framing headers and invalid headers are ignored."""
    if override is None:
        return response
    if override.status is not None:
        response.status = override.status
    if override.body is not None and not _is_bodiless(response.status):
        # As in tusd, the body of a hook is plain text unless the hook sets a type.
        response.headers = [*(header for header in response.headers if header[0] != _TEXT[0]), _TEXT]
        response.body = override.body.encode()
    for name, value in override.headers.items():
        field = name.lower().encode("latin-1", "replace")
        if _TOKEN.fullmatch(name) and _VALUE.fullmatch(value) and field not in _FRAMING:
            response.headers = [
                *(header for header in response.headers if header[0] != field),
                (field, value.encode("latin-1")),
            ]
    if override.body is not None or override.status is not None:
        assert isinstance(response.body, bytes), "no hook overrides a download"
        response.headers = [field for field in response.headers if field[0] != b"content-length"]
        if not _is_bodiless(response.status):
            response.headers.append((b"content-length", b"%d" % len(response.body)))
    return response


def _is_bodiless(status: int) -> bool:
    return status in (204, 304)


def adapt_to_method(response: Response, context: ResponseContext) -> Response:
    """Adapt ``response`` to the real method, the only one the client's HTTP stack knows, and return it."""
    if context.is_overridden and _NO_STORE not in response.headers:
        response.headers.append(_NO_STORE)
    if _is_bodiless(response.status):
        response.body = b""
    elif context.wants_no_body and response.body:
        response.body = b""
        framing = (b"content-length", b"content-type")
        response.headers = [field for field in response.headers if field[0] not in framing]
        if context.real_method != "HEAD":
            response.headers.append(_NO_BODY)
    return response
