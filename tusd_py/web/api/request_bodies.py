"""Opens request bodies that are stored as they arrive, and responds to requests whose body is not read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tusd_py.access.bandwidth import Bandwidth
from tusd_py.model.caller import Caller
from tusd_py.web import early_response
from tusd_py.web.paced_body import PacedBody, paced
from tusd_py.web.request_body import ActiveBodies, AsgiBody


class BodyOpener:
    """Opens the body of a request with the limits of the tus endpoint; it is stopped when the server is."""

    def __init__(self, active_bodies: ActiveBodies, idle_seconds: float, rate_min: float) -> None:
        self._active_bodies = active_bodies
        self._idle_seconds = idle_seconds
        self._rate_min = rate_min

    @contextmanager
    def opened(self, request: Request) -> Iterator[AsgiBody]:
        """The body, closed at the end of the block."""
        extension = request.scope.get("extensions", {}).get("tusd_py", {})
        body = AsgiBody(
            request.receive,
            self._idle_seconds,
            self._rate_min,
            extension.get("trailers", tuple),
            extension.get("acquire_socket"),
            extension.get("take_buffered_body"),
            extension.get("attach_body"),
        )
        self._active_bodies.add(body)
        try:
            yield body
        finally:
            body.close()
            self._active_bodies.discard(body)

    @contextmanager
    def paced(
        self, body: AsgiBody, bandwidth: Bandwidth | None, caller: Caller, upload_id: str
    ) -> Iterator[AsgiBody | PacedBody]:
        """``body``, which is open, at the pace of ``upload_id`` and its owner for the block."""
        slow = body if bandwidth is None else paced(bandwidth, caller, upload_id, body)
        if not isinstance(slow, PacedBody):
            yield body
            return
        # A stop has to end the wait of the paced body too.
        self._active_bodies.discard(body)
        self._active_bodies.add(slow)
        try:
            yield slow
        finally:
            slow.close()
            self._active_bodies.discard(slow)


class EarlyResponse(Response):
    """``response`` to a request whose body has not been read to its end: the rest is read within bounds."""

    def __init__(self, response: Response, unread_bytes: int | None, *, may_read: bool) -> None:
        super().__init__(bytes(response.body), response.status_code)
        self.raw_headers = response.raw_headers
        self._unread_bytes = unread_bytes
        self._may_read = may_read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, unread = bytes(self.body), self._unread_bytes
        await early_response.send(send, receive, self.status_code, self.raw_headers, body, unread, self._may_read)
