"""Answers creations without a task: see ``uploads.create_directly``.

The HTTP server offers each request that has arrived whole, before it starts a task for it (``begin_directly``). What is
not an ordinary creation is declined here, and then answered by ``TusEndpoint``, as everything is in other servers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import fields
from time import perf_counter
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from tusd_py.model.caller import HeaderList
from tusd_py.model.upload import Upload
from tusd_py.protocol.headers import Headers
from tusd_py.protocol.parsing import Parser
from tusd_py.protocol.responses import Formatter
from tusd_py.uploads.create_directly import DirectCreations, direct_creations
from tusd_py.uploads.ports import Ports
from tusd_py.web.tus import TusEndpoint

log = logging.getLogger(__name__)
_request_log = logging.getLogger("tusd_py.requests")

_CREATED = 201


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


class DirectAnswers:
    """Begins the creations of one endpoint, which is mounted at ``base_path``. ``opened`` are the ports once opened."""

    def __init__(self, endpoint: TusEndpoint, base_path: str, opened: Callable[[], Ports | None]) -> None:
        self._endpoint = endpoint
        self._collection = base_path.rstrip("/") + "/"
        self._paths = frozenset({self._collection, self._collection.rstrip("/")})
        self._opened = opened
        self._ports: Ports | None = None  # for which ``_creations`` are
        self._creations: DirectCreations | None = None
        parser, formatter = endpoint.protocols.tus.parser, endpoint.protocols.tus.formatter
        assert isinstance(parser, Parser) and isinstance(formatter, Formatter), "those of tus 1.0"
        self._parser, self._formatter = parser, formatter
        # As in ``create_directly``: an optional part that is there, such as an authenticator, may concern all requests.
        self._is_possible = not any(
            each.default is None and getattr(endpoint, each.name) is not None for each in fields(endpoint)
        )

    def begin(self, whole: WholeRequest, run: Run) -> bool:
        """Begin to answer a request if it is an ordinary creation; return whether it was."""
        scope = whole.scope
        if scope["method"] != "POST" or scope["path"] not in self._paths or scope["root_path"]:
            return False
        ports = self._opened()
        if ports is not self._ports:
            self._ports = ports
            self._creations = None if ports is None or not self._is_possible else direct_creations(ports)
        creations = self._creations
        # Each answered request is a line at this level, which is ``Exchange``'s.
        if creations is None or _request_log.isEnabledFor(logging.DEBUG):
            return False
        try:
            return self._begin(creations, Headers(scope["headers"]), whole, run)
        except Exception as failure:  # noqa: BLE001
            # The outermost handler. Nothing has begun: the endpoint meets the same failure, and answers it.
            log.debug("not created directly: %s: %s", type(failure).__name__, failure)
            return False

    def _begin(self, creations: DirectCreations, headers: Headers, whole: WholeRequest, run: Run) -> bool:
        endpoint, scope = self._endpoint, whole.scope
        started = perf_counter()
        request = self._parser.parse_plain_creation(headers)
        client = endpoint.client_addresses.key(scope, headers)
        if request is None or not client:
            return False
        at = endpoint.locator.collection(scope, self._collection, headers)
        request_id = endpoint.request_ids.of(headers.get_bytes(b"x-request-id"))
        pieces = whole.peek_body()
        answer = _Answer(
            endpoint, self._formatter, whole, run, started, at.url, request_id, headers.get_bytes(b"origin"), pieces
        )
        if not creations.begin(request, pieces, client, request_id.decode(), answer.on_created):
            return False
        endpoint.metrics.open.inc()
        return True


class _Answer:
    """The response to one creation that has begun."""

    __slots__ = ("_endpoint", "_formatter", "_origin", "_pieces", "_request_id", "_run", "_started", "_url", "_whole")

    def __init__(
        self,
        endpoint: TusEndpoint,
        formatter: Formatter,
        whole: WholeRequest,
        run: Run,
        started: float,
        url: str,
        request_id: bytes,
        origin: bytes | None,
        pieces: Sequence[bytes],
    ) -> None:
        self._endpoint = endpoint
        self._formatter = formatter
        self._whole = whole
        self._run = run
        self._started = started
        self._url = url
        self._request_id = request_id
        self._origin = origin
        self._pieces = pieces

    def on_created(self, upload: Upload | None) -> None:
        """Send the response; without an upload leave the request to the endpoint. Does not raise."""
        metrics = self._endpoint.metrics
        metrics.open.dec()
        if upload is None:
            # Another try is of no use to a client that is gone, and the backends may be closing.
            if not self._whole.disconnected:
                self._run(self._whole, None)
            return
        try:
            headers = self._headers(upload)
            metrics.created.inc()
            if self._pieces:
                metrics.bytes_received.inc(upload.offset)
            if not self._whole.respond_directly(_CREATED, headers):
                # The client reads slowly, the server stops or the connection is gone: what ASGI does then is right.
                self._run(self._whole, sending(_CREATED, headers))
        except Exception:
            # The outermost handler of this callback: the client must be answered.
            log.exception("request %s: created %s, but could not answer", self._request_id.decode(), upload.id)
            self._run(self._whole, failing)
        metrics.request("POST", perf_counter() - self._started, None)

    def _headers(self, upload: Upload) -> HeaderList:
        endpoint = self._endpoint
        headers = self._formatter.created_headers(upload, self._url + upload.id, took_body=bool(self._pieces))
        headers += endpoint.cors.headers(self._origin, False)
        headers.append((b"x-request-id", self._request_id))
        return headers


def sending(status: int, headers: HeaderList, body: bytes = b"") -> ASGIApp:
    """An application that sends this response."""

    async def send_response(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return send_response


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    """Nothing: the HTTP server answers 500 where the application sends no response."""
