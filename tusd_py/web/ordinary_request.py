"""A request that is answered without a task, with what its response needs. ``direct`` says which ones are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from tusd_py.model.caller import HeaderList
from tusd_py.model.principal import Principal


class WholeRequest(Protocol):
    """A request that has arrived whole, as the HTTP server has it."""

    method: str
    disconnected: bool

    @property
    def headers(self) -> HeaderList:
        """The headers as received, with names in lower case."""
        ...

    @property
    def path(self) -> str:
        """The decoded path, as in the scope."""
        ...

    @property
    def is_below_root(self) -> bool:
        """Whether the server is mounted under a path."""
        ...

    @property
    def address(self) -> Mapping[str, Any]:
        """What the scope says of both ends of the connection and the version: less than the scope takes to make."""
        ...

    @property
    def client_host(self) -> str | None:
        """The address of the peer; ``None`` on a unix socket."""
        ...

    @property
    def scope(self) -> Scope:
        """The ASGI scope, which is made when it is asked for."""
        ...

    def peek_body(self) -> Sequence[bytes]:
        """The pieces of the body, which a task that answers the request later receives again."""
        ...

    def respond_directly(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Send a response without a body and forget the body of the request; return whether that was possible."""
        ...

    def respond_lines(self, status: int, lines: bytes, count: int) -> bool:
        """As ``respond_directly``, with ``count`` headers as lines with their ends."""
        ...


#: Starts a task that answers the request: by the server's application, or by the given one.
Run = Callable[[WholeRequest, ASGIApp | None], None]


class OrdinaryRequest:
    """A whole request of a client that is authenticated.

    ``principal`` is ``None`` while access control is off. ``origin`` is the header, for CORS.
    """

    __slots__ = ("_run", "origin", "pieces", "principal", "request_id", "started", "whole")

    def __init__(
        self, whole: WholeRequest, run: Run, origin: bytes | None, principal: Principal | None, request_id: bytes
    ) -> None:
        self.whole = whole
        self._run = run
        self.origin = origin
        self.principal = principal
        self.request_id = request_id
        self.pieces = whole.peek_body()
        self.started = perf_counter()

    def respond(self, status: int, headers: HeaderList, body: bytes = b"") -> None:
        """Send the response."""
        if body or not self.whole.respond_directly(status, headers):
            # The client reads slowly, the server stops or the connection is gone: what ASGI does then is right.
            self._run(self.whole, _sending(status, headers, body))

    def respond_lines(self, status: int, lines: bytes, count: int) -> bool:
        """Send the response, if it can be sent at once; return whether it was."""
        return self.whole.respond_lines(status, lines, count)

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
