"""Refusals outside the tus endpoint, as JSON."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from tusd_py.protocol.access_errors import Unauthenticated
from tusd_py.protocol.errors import TusError


def refusal(error: TusError) -> Response:
    """The response to a request that is refused with ``error``."""
    headers = {"cache-control": "no-store"}
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = error.challenge
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(error.retry_after_seconds)
    return JSONResponse({"code": error.code, "error": str(error)}, error.status, headers=headers)
