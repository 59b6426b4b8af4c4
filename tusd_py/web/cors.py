"""CORS headers for every response, refusals included: without them a browser reports a 409 as "network error".

Starlette's middleware does not fit: it answers preflights without the headers that tus clients expect, and it adds no
headers to the response of an unhandled exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tusd_py.model.caller import HeaderList

ALLOW_METHODS = "POST, HEAD, PATCH, PUT, DELETE, GET, OPTIONS"
ALLOW_HEADERS = (
    "Authorization, Content-Type, Tus-Resumable, Upload-Length, Upload-Offset, Upload-Metadata, Upload-Defer-Length, "
    "Upload-Concat, Upload-Checksum, X-HTTP-Method-Override, X-Requested-With, X-Request-ID, Upload-Complete, "
    "Upload-Incomplete, Upload-Draft-Interop-Version, Content-Disposition, Repr-Digest, Content-Digest, "
    "Want-Repr-Digest, Incremental, X-CSRF-Token, Range, If-Range, If-Match, If-None-Match, "
    "If-Modified-Since, If-Unmodified-Since"
)
EXPOSE_HEADERS = (
    "Location, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, Upload-Offset, "
    "Upload-Length, Upload-Metadata, Upload-Defer-Length, Upload-Concat, Upload-Expires, Upload-Complete, "
    "Upload-Limit, Upload-Incomplete, Upload-Draft-Interop-Version, Accept-Patch, Retry-After, X-Request-ID, "
    "Accept-Ranges, Content-Disposition, Content-Range, ETag, WWW-Authenticate"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsPolicy:
    """Which origins may use this server from a browser. Origins must match exactly; there are no patterns."""

    enabled: bool = True
    allow_origins: Sequence[str] = ("*",)
    allow_credentials: bool = False
    allow_headers: Sequence[str] = ()  # in addition to those of the protocol
    expose_headers: Sequence[str] = ()
    max_age_seconds: int = 86400
    _fixed: HeaderList = field(init=False, default_factory=list)
    _preflight: HeaderList = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        expose = ", ".join([EXPOSE_HEADERS, *self.expose_headers])
        self._fixed.append((b"access-control-expose-headers", expose.encode("latin-1")))
        if self.allow_credentials:
            self._fixed.append((b"access-control-allow-credentials", b"true"))
        allow = ", ".join([ALLOW_HEADERS, *self.allow_headers])
        self._preflight.append((b"access-control-allow-methods", ALLOW_METHODS.encode()))
        self._preflight.append((b"access-control-allow-headers", allow.encode("latin-1")))
        self._preflight.append((b"access-control-max-age", str(self.max_age_seconds).encode()))

    def headers(self, origin: bytes | None, is_preflight: bool) -> HeaderList:
        """Return the headers to add to the response to a request from ``origin``.

        An origin that is not allowed gets Vary only. Browsers refuse "*" together with credentials, so the origin
        itself is named then.
        """
        if not self.enabled:
            return []
        is_open = "*" in self.allow_origins
        vary = [] if is_open and not self.allow_credentials else [(b"vary", b"Origin")]
        if origin is None or not (is_open or origin.decode("latin-1") in self.allow_origins):
            return vary
        allowed = b"*" if is_open and not self.allow_credentials else origin
        headers = [(b"access-control-allow-origin", allowed), *vary, *self._fixed]
        return headers + self._preflight if is_preflight else headers
