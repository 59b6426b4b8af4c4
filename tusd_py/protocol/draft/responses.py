"""From what came of a request to status, headers and body in the draft. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tusd_py.model.caller import HeaderList
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol.draft.limits import format_limits, lifetime_seconds
from tusd_py.protocol.draft.problems import Problem, format_problem, problem
from tusd_py.protocol.draft.representation import MEDIA_TYPE
from tusd_py.protocol.draft.structured_fields import INTEGER_MAX, format_boolean
from tusd_py.protocol.draft.versions import Version
from tusd_py.protocol.errors import (
    MaxSizeExceeded,
    MethodNotAllowed,
    TusError,
    UnsupportedContentType,
    UploadGone,
)
from tusd_py.protocol.outcomes import Appended, Created, Discovered, Inspected, Outcome, ResponseOverride, Terminated
from tusd_py.protocol.responses import Response, ResponseContext, apply_override, readable
from tusd_py.protocol.rules import Limits

_NO_BODY = (b"content-length", b"0")
_NO_STORE = (b"cache-control", b"no-store")
_ACCEPT_PATCH = (b"accept-patch", MEDIA_TYPE.encode("ascii"))


@dataclass(frozen=True, slots=True)
class Interim:
    """An answer before the answer: 104 (Upload Resumption Supported). It never replaces a 100 (Continue)."""

    headers: HeaderList
    status: int = 104


@dataclass(frozen=True, slots=True, kw_only=True)
class Formatter:
    """Writes one version of the draft as this server speaks it.

    ``unfinished_seconds`` is how long a new upload lives, 0 for ever.
    """

    limits: Limits
    version: Version
    clock: Callable[[], datetime]  # aware, UTC
    unfinished_seconds: float = 0

    def announce(self, upload: Upload, location: str) -> Interim | None:
        """The first interim answer to a creation; None for whoever must not be sent one."""
        if self.version.number is None:
            return None
        return Interim([*self._named(), (b"location", location.encode("ascii")), *self.limit(upload)])

    def progress(self, offset: int) -> Interim | None:
        """The interim answer that so much is safe: "These interim responses MUST NOT include the Location"."""
        if not self.version.tells_progress or offset > INTEGER_MAX:
            return None
        return Interim([*self._named(), (b"upload-offset", b"%d" % offset)])

    def format_outcome(self, outcome: Outcome, asked: ResponseContext, location: str = "") -> Response:
        """The answer to a request that was granted; ``location`` is the new upload's URL after a creation."""
        match outcome:
            case Created():
                reply = self._created(outcome, location)
            case Appended():
                reply = apply_override(self._appended(outcome.upload), outcome.override)
            case Inspected():
                reply = Response(204, [*self._named(), _NO_STORE, *self._state(outcome.upload)])
            case Terminated():
                reply = apply_override(Response(204, self._named()), outcome.override)
            case Discovered():
                reply = Response(204, [*self._named(), *self.offer()])
            case _:
                raise AssertionError("no parser of the draft asks for a download")
        return readable(reply, asked)

    def format_refusal(self, error: TusError, asked: ResponseContext) -> Response:
        """The answer to a request that the protocol refuses."""
        told = problem(error, self.version)
        if isinstance(error, UploadGone):
            # Up to -05: not active is "404 (Not Found)".
            told = Problem(404 if self.version.is_strict else self.limits.gone_status)
        headers = self._facts(error)
        if asked.method not in ("HEAD", "GET", "DELETE"):
            headers.append(self.completeness(is_complete=False))
            if error.upload is not None and error.upload.status is not Status.FAILED:
                # Append: "The response MUST include the correct offset".
                headers += self._offset(error.upload)
        return self._problem(told, error.code, str(error), asked, headers, error.override)

    def format_error(
        self,
        status: int,
        code: str,
        sentence: str,
        asked: ResponseContext,
        headers: Sequence[tuple[bytes, bytes]] = (),
        overlay: ResponseOverride | None = None,
    ) -> Response:
        """The answer to anything that went wrong."""
        return self._problem(Problem(status), code, sentence, asked, headers, overlay)

    def completeness(self, *, is_complete: bool) -> tuple[bytes, bytes]:
        """The header that tells whether an upload is complete."""
        if self.version.says_incomplete:
            return b"upload-incomplete", format_boolean(not is_complete).encode("ascii")
        return b"upload-complete", format_boolean(is_complete).encode("ascii")

    def limit(self, upload: Upload) -> HeaderList:
        """``Upload-Limit`` for an upload that exists."""
        return self._limit(lifetime_seconds(upload, self.clock()))

    def offer(self) -> HeaderList:
        """What OPTIONS tells: the limits of an upload that is yet to be made."""
        return [*self._limit(int(self.unfinished_seconds) or None), _ACCEPT_PATCH]

    def _created(self, created: Created, location: str) -> Response:
        where = (b"location", location.encode("ascii"))
        headers = [*self._named(), where, *self._state(created.upload), _NO_BODY]
        reply = apply_override(Response(201, headers), created.override)
        if not created.upload.is_complete:
            # "all interim and final response messages for the same request MUST contain an identical Location value";
            # only the answer to the whole upload may name another place, if a hook says so.
            reply.headers = [*(kept for kept in reply.headers if kept[0] != b"location"), where]
        return reply

    def _appended(self, upload: Upload) -> Response:
        headers = [*self._named(), *self._state(upload)]
        # The last append is answered as a creation would have been. Up to -05 every append is answered 201; since then
        # "a `2xx (Successful)` response".
        if upload.is_complete or self.version.is_strict:
            return Response(201, [*headers, _NO_BODY])
        return Response(204, headers)

    def _state(self, upload: Upload) -> HeaderList:
        fields = [self.completeness(is_complete=upload.is_complete), *self._offset(upload)]
        if upload.length is not None and upload.length <= INTEGER_MAX:
            fields.append((b"upload-length", b"%d" % upload.length))
        return fields + self.limit(upload)

    def _offset(self, upload: Upload) -> HeaderList:
        return [(b"upload-offset", b"%d" % upload.offset)] if upload.offset <= INTEGER_MAX else []

    def _limit(self, seconds: int | None) -> HeaderList:
        field = format_limits(self.version, self.limits, seconds)
        return [] if field is None else [(b"upload-limit", field.encode("ascii"))]

    def _named(self) -> HeaderList:
        number = self.version.number
        return [] if number is None else [(b"upload-draft-interop-version", b"%d" % number)]

    def _facts(self, error: TusError) -> HeaderList:
        match error:
            case MethodNotAllowed():
                return [(b"allow", ", ".join(error.allowed).encode("ascii"))]
            case MaxSizeExceeded():
                # "A server responding with a 413 ... SHOULD include the Upload-Limit header field".
                return self._limit(None)
            case UnsupportedContentType():
                return [_ACCEPT_PATCH]  # RFC 5789, 2.2
        return [(b"retry-after", b"%d" % error.retry_after_seconds)] if error.retry_after_seconds else []

    def _problem(
        self,
        told: Problem,
        code: str,
        sentence: str,
        asked: ResponseContext,
        headers: Sequence[tuple[bytes, bytes]],
        overlay: ResponseOverride | None,
    ) -> Response:
        body = format_problem(told, code, sentence)
        framing = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
        reply = Response(told.status, [*self._named(), _NO_STORE, *headers, *framing], body)
        return readable(apply_override(reply, overlay), asked)
