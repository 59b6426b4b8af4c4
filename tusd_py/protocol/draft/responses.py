"""Format the outcome of a request as a response of the draft: status, headers, body. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tusd_py.model.caller import HeaderList
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol.access_errors import Unauthenticated
from tusd_py.protocol.draft.limits import format_limits, lifetime_seconds
from tusd_py.protocol.draft.problems import Problem, format_problem, problem_for
from tusd_py.protocol.draft.representation import MEDIA_TYPE
from tusd_py.protocol.draft.structured_fields import INTEGER_MAX, format_boolean
from tusd_py.protocol.draft.versions import Version
from tusd_py.protocol.errors import (
    AppendTooLarge,
    AppendTooSmall,
    MaxSizeExceeded,
    MethodNotAllowed,
    TusError,
    UnsupportedContentType,
    UploadGone,
)
from tusd_py.protocol.outcomes import Appended, Created, Discovered, Inspected, Outcome, ResponseOverride, Terminated
from tusd_py.protocol.responses import Response, ResponseContext, adapt_to_method, apply_override
from tusd_py.protocol.rules import Limits

_NO_BODY = (b"content-length", b"0")
_NO_STORE = (b"cache-control", b"no-store")
_ACCEPT_PATCH = (b"accept-patch", MEDIA_TYPE.encode("ascii"))


@dataclass(frozen=True, slots=True)
class Interim:
    """An interim response: 104 (Upload Resumption Supported). It never replaces a 100 (Continue)."""

    headers: HeaderList
    status: int = 104


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftFormatter:
    """Formats responses of one version of the draft.

    ``unfinished_seconds`` is the lifetime of a new upload; 0 means that it does not expire.
    """

    limits: Limits
    version: Version
    clock: Callable[[], datetime]  # aware, UTC
    unfinished_seconds: float = 0

    def created_interim(self, upload: Upload, location: str) -> Interim | None:
        """The interim response with the URL of a new upload; None for clients that named no version."""
        if self.version.number is None:
            return None
        return Interim([*self._version_headers(), (b"location", location.encode("ascii")), *self.limit_headers(upload)])

    def progress_interim(self, offset: int) -> Interim | None:
        """The interim response with the offset saved so far; None for versions without it.

        "These interim responses MUST NOT include the Location".
        """
        if not self.version.sends_progress or offset > INTEGER_MAX:
            return None
        return Interim([*self._version_headers(), (b"upload-offset", b"%d" % offset)])

    def format_outcome(self, outcome: Outcome, context: ResponseContext, location: str = "") -> Response:
        """The response to a successful request; ``location`` is the URL of the new upload after a creation."""
        match outcome:
            case Created():
                response = self._created(outcome, location)
            case Appended():
                response = apply_override(self._appended(outcome.upload), outcome.override)
            case Inspected():
                response = Response(204, [*self._version_headers(), _NO_STORE, *self._state(outcome.upload)])
            case Terminated():
                response = apply_override(Response(204, self._version_headers()), outcome.override)
            case Discovered():
                discovery = self.discovery_headers(accept_patch=self.version.has_accept_patch)
                response = Response(204, [*self._version_headers(), *discovery])
            case _:
                raise AssertionError("the draft has no downloads")
        return adapt_to_method(response, context)

    def format_refusal(self, error: TusError, context: ResponseContext) -> Response:
        """The response to a request that was refused."""
        problem = problem_for(error, self.version)
        if isinstance(error, UploadGone):
            # Up to -05: an inactive upload is "404 (Not Found)".
            problem = Problem(404 if self.version.is_strict else self.limits.gone_status)
        headers = self._error_headers(error)
        if context.method not in ("HEAD", "GET", "DELETE"):
            headers.append(self.completeness_header(is_complete=False))
            if error.upload is not None and error.upload.status is not Status.FAILED:
                # Append: "The response MUST include the correct offset".
                headers += self._offset(error.upload)
        return self._problem(problem, error.code, str(error), context, headers, error.override)

    def format_error(
        self,
        status: int,
        code: str,
        sentence: str,
        context: ResponseContext,
        headers: Sequence[tuple[bytes, bytes]] = (),
        override: ResponseOverride | None = None,
    ) -> Response:
        """An error response."""
        return self._problem(Problem(status), code, sentence, context, headers, override)

    def completeness_header(self, *, is_complete: bool) -> tuple[bytes, bytes]:
        """Upload-Complete, or Upload-Incomplete in the version that has it."""
        if self.version.inverts_completeness:
            return b"upload-incomplete", format_boolean(not is_complete).encode("ascii")
        return b"upload-complete", format_boolean(is_complete).encode("ascii")

    def limit_headers(self, upload: Upload) -> HeaderList:
        """``Upload-Limit`` for an existing upload."""
        to_date = self.version.rounds_lifetime_to_date
        return self._limit(lifetime_seconds(upload, self.clock(), to_date=to_date))

    def discovery_headers(self, *, accept_patch: bool) -> HeaderList:
        """The headers for OPTIONS: the limits of a new upload, and Accept-Patch in versions that have it there."""
        limits = self._limit(int(self.unfinished_seconds) or None)
        return [*limits, _ACCEPT_PATCH] if accept_patch else limits

    def _created(self, created: Created, location: str) -> Response:
        location_header = (b"location", location.encode("ascii"))
        headers = [*self._version_headers(), location_header, *self._state(created.upload), _NO_BODY]
        response = apply_override(Response(201, headers), created.override)
        if not created.upload.is_complete:
            # "all interim and final response messages for the same request MUST contain an identical Location value";
            # so a hook may change the location only in the response to a complete upload.
            response.headers = [*(header for header in response.headers if header[0] != b"location"), location_header]
        return response

    def _appended(self, upload: Upload) -> Response:
        headers = [*self._version_headers(), *self._state(upload)]
        # The last append gets the same status as a creation. Up to -05 every append is answered 201; later versions ask
        # for "a `2xx (Successful)` response".
        if upload.is_complete or self.version.is_strict:
            return Response(201, [*headers, _NO_BODY])
        return Response(204, headers)

    def _state(self, upload: Upload) -> HeaderList:
        fields = [self.completeness_header(is_complete=upload.is_complete), *self._offset(upload)]
        if upload.length is not None and upload.length <= INTEGER_MAX:
            fields.append((b"upload-length", b"%d" % upload.length))
        return fields + self.limit_headers(upload)

    def _offset(self, upload: Upload) -> HeaderList:
        return [(b"upload-offset", b"%d" % upload.offset)] if upload.offset <= INTEGER_MAX else []

    def _limit(self, seconds: int | None) -> HeaderList:
        field = format_limits(self.version, self.limits, seconds)
        return [] if field is None else [(b"upload-limit", field.encode("ascii"))]

    def _version_headers(self) -> HeaderList:
        number = self.version.number
        return [] if number is None else [(b"upload-draft-interop-version", b"%d" % number)]

    def _error_headers(self, error: TusError) -> HeaderList:
        match error:
            case Unauthenticated():
                return [(b"www-authenticate", error.challenge.encode("ascii"))]
            case MethodNotAllowed():
                return [(b"allow", ", ".join(error.allowed).encode("ascii"))]
            case MaxSizeExceeded() | AppendTooLarge() | AppendTooSmall():
                # "A server responding with a 413 ... SHOULD include the Upload-Limit header field".
                return self._limit(None)
            case UnsupportedContentType():
                return [_ACCEPT_PATCH]  # RFC 5789, 2.2
        return [(b"retry-after", b"%d" % error.retry_after_seconds)] if error.retry_after_seconds else []

    def _problem(
        self,
        problem: Problem,
        code: str,
        sentence: str,
        context: ResponseContext,
        headers: Sequence[tuple[bytes, bytes]],
        override: ResponseOverride | None,
    ) -> Response:
        body = format_problem(problem, code, sentence)
        framing = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
        response = Response(problem.status, [*self._version_headers(), _NO_STORE, *headers, *framing], body)
        return adapt_to_method(apply_override(response, override), context)
