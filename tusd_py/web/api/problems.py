"""Errors of the API as problem documents (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import JSONResponse, Response

from tusd_py.protocol.access_errors import Unauthenticated
from tusd_py.protocol.errors import TusError

MEDIA_TYPE = "application/problem+json"

#: The code of an ``ApiError`` that names none.
CODES: Mapping[int, str] = {
    400: "ERR_INVALID_REQUEST",
    401: "ERR_UNAUTHENTICATED",
    403: "ERR_ACCESS_DENIED",
    404: "ERR_NOT_FOUND",
    405: "ERR_METHOD_NOT_ALLOWED",
    408: "ERR_REQUEST_TIMEOUT",
    409: "ERR_CONFLICT",
    410: "ERR_GONE",
    413: "ERR_BODY_TOO_LARGE",
    415: "ERR_UNSUPPORTED_TYPE",
    429: "ERR_TOO_MANY_REQUESTS",
    503: "ERR_UNAVAILABLE",
}


class ApiError(Exception):
    """A request that is refused with this status and sentence.

    ``code`` tells programs what happened; each status has one of its own. ``members`` are further members of the
    problem document, ``headers`` of the response.
    """

    def __init__(
        self,
        status: int,
        sentence: str,
        code: str = "",
        *,
        members: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.code = code or CODES[status]
        self.members = members or {}
        self.headers = headers or {}


def problem_response(error: ApiError) -> Response:
    """The response that reports ``error``; ``error`` repeats ``detail`` for clients of earlier versions."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.sentence,
        "code": error.code,
        "error": error.sentence,
        **error.members,
    }
    headers = {"cache-control": "no-store", **error.headers}
    return JSONResponse(document, error.status, headers=headers, media_type=MEDIA_TYPE)


def refusal(error: TusError) -> Response:
    """The response to a request outside the tus endpoint that is refused with ``error``."""
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = error.challenge
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(error.retry_after_seconds)
    return problem_response(ApiError(error.status, str(error), error.code, members=error.members, headers=headers))
