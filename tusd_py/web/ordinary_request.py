"""A request that is answered without a task, with what its response needs. ``direct`` says which ones are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from tusd_py.model.caller import HeaderList
from tusd_py.model.principal import Principal
from tusd_py.protocol.headers import Headers


class WholeRequest(Protocol):
    """A request that has arrived whole, as the HTTP server has it."""

    scope: Scope
    disconnected: bool

    def peek_body(self) -> Sequence[bytes]:
        """The pieces of the body, which a task that answers the request later receives again."""
        ...

    def respond_directly(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Send a response without a body and forget the body of the request; return whether that was possible."""
        ...


#: Starts a task that answers the request: by the server's application, or by the given one.
Run = Callable[[WholeRequest, ASGIApp | None], None]


class OrdinaryRequest:
    """A whole request of a client that is authenticated. ``principal`` is ``None`` while access control is off."""

    __slots__ = ("_run", "headers", "pieces", "principal", "request_id", "started", "whole")

    def __init__(
        self, whole: WholeRequest, run: Run, headers: Headers, principal: Principal | None, request_id: bytes
    ) -> None:
        self.whole = whole
        self._run = run
        self.headers = headers
        self.principal = principal
        self.request_id = request_id
        self.pieces = whole.peek_body()
        self.started = perf_counter()

    @property
    def origin(self) -> bytes | None:
        """The header ``Origin``, for CORS."""
        return self.headers.get_bytes(b"origin")

    def respond(self, status: int, headers: HeaderList, body: bytes = b"") -> None:
        """Send the response."""
        if body or not self.whole.respond_directly(status, headers):
            # The client reads slowly, the server stops or the connection is gone: what ASGI does then is right.
            self._run(self.whole, _sending(status, headers, body))

    def leave_to_task(self) -> None:
        """Let the endpoint answer the request."""
        self._run(self.whole, None)

    def fail(self) -> None:
        """Answer 500."""
        self._run(self.whole, _failing)


def _sending(status: int, headers: HeaderList, body: bytes) -> ASGIApp:
    """An application that sends this response."""

    async def send_response(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return send_response


async def _failing(scope: Scope, receive: Receive, send: Send) -> None:
    """Nothing: the HTTP server answers 500 where the application sends no response."""
