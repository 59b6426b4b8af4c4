"""Answers HEAD, PATCH and DELETE without a task: see ``uploads.change_directly``. ``direct`` does so for creations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import fields
from time import perf_counter

from tusd_py.protocol.errors import TusError
from tusd_py.protocol.headers import Headers
from tusd_py.protocol.outcomes import Terminated
from tusd_py.protocol.requests import Append, Head, Inspect, Terminate
from tusd_py.protocol.responses import Response, ResponseContext
from tusd_py.uploads.change_directly import DirectChanges, DirectOutcome, direct_changes
from tusd_py.uploads.ports import Ports
from tusd_py.web.direct import DirectAnswers, Run, WholeRequest, failing, sending
from tusd_py.web.errors import to_refusal
from tusd_py.web.tus import TusEndpoint

log = logging.getLogger(__name__)
_request_log = logging.getLogger("tusd_py.requests")

#: A request with one of these is not ordinary: another method or protocol, a checksum, a final upload.
_UNUSUAL_HEADERS = frozenset(
    {
        b"x-http-method-override",
        b"upload-draft-interop-version",
        b"upload-concat",
        b"upload-checksum",
        b"trailer",
        b"expect",
        b"transfer-encoding",
    }
)
_CONTEXTS = {method: ResponseContext(method, method) for method in ("HEAD", "PATCH", "DELETE")}


class DirectChangeAnswers:
    """Begins requests for the uploads of one endpoint, which is mounted at ``base_path``; ``creations`` begins others.

    ``opened`` are the ports once opened.
    """

    def __init__(
        self, endpoint: TusEndpoint, base_path: str, opened: Callable[[], Ports | None], creations: DirectAnswers
    ) -> None:
        self._endpoint = endpoint
        self._prefix = base_path.rstrip("/") + "/"
        self._opened = opened
        self._creations = creations
        self._ports: Ports | None = None  # for which ``_changes`` are
        self._changes: DirectChanges | None = None
        # As in ``direct``: an optional part that is there, such as an authenticator, may concern all requests.
        self._is_possible = not any(
            each.default is None and getattr(endpoint, each.name) is not None for each in fields(endpoint)
        )

    def begin(self, whole: WholeRequest, run: Run) -> bool:
        """Begin to answer a request if it is an ordinary one; return whether it was."""
        scope = whole.scope
        if scope["method"] not in _CONTEXTS:
            return self._creations.begin(whole, run)
        if not scope["path"].startswith(self._prefix) or scope["root_path"]:
            return False
        ports = self._opened()
        if ports is not self._ports:
            self._ports = ports
            self._changes = None if ports is None or not self._is_possible else direct_changes(ports)
        changes = self._changes
        # Each answered request is a line at this level, which is ``Exchange``'s.
        if changes is None or _request_log.isEnabledFor(logging.DEBUG):
            return False
        headers = Headers(scope["headers"])
        if b"tus-resumable" not in headers or headers.has_any(_UNUSUAL_HEADERS):
            return False
        try:
            return self._begin(changes, headers, whole, run)
        except Exception as failure:  # noqa: BLE001
            # The outermost handler. Nothing has begun: the endpoint meets the same failure, and answers it.
            log.debug("not answered directly: %s: %s", type(failure).__name__, failure)
            return False

    def _begin(self, changes: DirectChanges, headers: Headers, whole: WholeRequest, run: Run) -> bool:
        endpoint, scope = self._endpoint, whole.scope
        started = perf_counter()
        method = scope["method"]
        head = Head(method=method, path=scope["path"][len(self._prefix) - 1 :], headers=headers)
        request = endpoint.protocols.tus.parser.parse(head, None)
        if not isinstance(request, Append | Inspect | Terminate):
            return False
        # HEAD changes nothing, so the log names no client.
        client = "" if method == "HEAD" else endpoint.client_addresses.key(scope, headers)
        request_id = endpoint.request_ids.of(headers.get_bytes(b"x-request-id"))
        pieces = whole.peek_body()
        answer = _ChangeAnswer(endpoint, whole, run, started, request_id, headers.get_bytes(b"origin"), pieces)
        if not changes.begin(request, pieces, client, request_id.decode(), answer.on_outcome):
            return False
        endpoint.metrics.open.inc()
        return True


class _ChangeAnswer:
    """The response to one request that has begun."""

    __slots__ = ("_endpoint", "_origin", "_pieces", "_request_id", "_run", "_started", "_whole")

    def __init__(
        self,
        endpoint: TusEndpoint,
        whole: WholeRequest,
        run: Run,
        started: float,
        request_id: bytes,
        origin: bytes | None,
        pieces: Sequence[bytes],
    ) -> None:
        self._endpoint = endpoint
        self._whole = whole
        self._run = run
        self._started = started
        self._request_id = request_id
        self._origin = origin
        self._pieces = pieces

    def on_outcome(self, outcome: DirectOutcome | None, failure: BaseException | None) -> None:
        """Send the response; with neither leave the request to the endpoint. Does not raise."""
        metrics = self._endpoint.metrics
        metrics.open.dec()
        if outcome is None and failure is None:
            # Another try is of no use to a client that is gone, and the backends may be closing.
            if not self._whole.disconnected or self._pieces:
                self._run(self._whole, None)
            return
        method = self._whole.scope["method"]
        formatter = self._endpoint.protocols.tus.formatter
        error: TusError | None = None
        try:
            if outcome is None:
                assert isinstance(failure, Exception)
                log.warning("request %s: %s: %s", self._request_id.decode(), type(failure).__name__, failure)
                error = to_refusal(failure, method)
                response = formatter.format_refusal(error, _CONTEXTS[method])
            else:
                response = formatter.format_outcome(outcome, _CONTEXTS[method], "")
                if isinstance(outcome, Terminated):
                    metrics.terminated.inc()
                elif self._pieces:
                    metrics.bytes_received.inc(sum(map(len, self._pieces)))
            self._respond(response)
        except Exception:
            # The outermost handler of this callback: the client must be answered.
            log.exception("request %s could not be answered", self._request_id.decode())
            self._run(self._whole, failing)
        metrics.request(method, perf_counter() - self._started, error)

    def _respond(self, response: Response) -> None:
        cors = self._endpoint.cors.headers(self._origin, False)
        headers = [*response.headers, *cors, (b"x-request-id", self._request_id)]
        assert isinstance(response.body, bytes), "no direct request is a download"
        if response.body or not self._whole.respond_directly(response.status, headers):
            # The client reads slowly, the server stops or the connection is gone: what ASGI does then is right.
            self._run(self._whole, sending(response.status, headers, response.body))
