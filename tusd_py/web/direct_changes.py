"""Answers HEAD, PATCH and DELETE without a task: see ``uploads.change_directly``. ``direct`` says which come here."""

from __future__ import annotations

import logging
from time import perf_counter

from tusd_py.protocol.errors import TusError
from tusd_py.protocol.headers import Headers
from tusd_py.protocol.outcomes import Terminated
from tusd_py.protocol.parsing import Parser
from tusd_py.protocol.requests import Head
from tusd_py.protocol.responses import Response, ResponseContext
from tusd_py.uploads.change_directly import DirectChanges, DirectOutcome
from tusd_py.web.errors import to_refusal
from tusd_py.web.ordinary_request import OrdinaryRequest
from tusd_py.web.tus import TusEndpoint

log = logging.getLogger(__name__)

METHODS = ("HEAD", "PATCH", "DELETE")
_CONTEXTS = {method: ResponseContext(method, method) for method in METHODS}


class DirectChangeAnswers:
    """Begins requests for the uploads of one endpoint, whose collection has the path ``collection``."""

    def __init__(self, endpoint: TusEndpoint, changes: DirectChanges, collection: str) -> None:
        parser = endpoint.protocols.tus.parser
        assert isinstance(parser, Parser), "that of tus 1.0"
        self._endpoint = endpoint
        self._parser = parser
        self._changes = changes
        self._prefix_length = len(collection) - 1

    def begin(self, request: OrdinaryRequest, headers: Headers) -> bool:
        """Begin to answer a request with one of ``METHODS``; return whether that was possible."""
        whole = request.whole
        method = whole.method
        change = self._parser.parse_plain_change(
            Head(method=method, path=whole.path[self._prefix_length :], headers=headers)
        )
        # HEAD changes nothing, so the log names no client.
        client = "" if method == "HEAD" else self._endpoint.client_addresses.of_peer(whole.client_host, headers)
        if change is None or not (client or method == "HEAD"):
            return False
        answer = _ChangeAnswer(self._endpoint, request)
        return self._changes.begin(
            change, request.pieces, client, request.principal, request.request_id.decode(), answer.on_outcome
        )


class _ChangeAnswer:
    """The response to one request that has begun."""

    __slots__ = ("_endpoint", "_request")

    def __init__(self, endpoint: TusEndpoint, request: OrdinaryRequest) -> None:
        self._endpoint = endpoint
        self._request = request

    def on_outcome(self, outcome: DirectOutcome | None, failure: BaseException | None) -> None:
        """Send the response; with neither leave the request to the endpoint. Does not raise."""
        request, metrics = self._request, self._endpoint.metrics
        metrics.open.dec()
        if outcome is None and failure is None:
            # Another try is of no use to a client that is gone, and the backends may be closing.
            if not request.whole.disconnected or request.pieces:
                request.leave_to_task()
            return
        method = request.whole.method
        formatter = self._endpoint.protocols.tus.formatter
        error: TusError | None = None
        try:
            if outcome is None:
                assert isinstance(failure, Exception)
                log.warning("request %s: %s: %s", request.request_id.decode(), type(failure).__name__, failure)
                error = to_refusal(failure, method)
                response = formatter.format_refusal(error, _CONTEXTS[method])
            else:
                response = formatter.format_outcome(outcome, _CONTEXTS[method], "")
                if isinstance(outcome, Terminated):
                    metrics.terminated.inc()
                elif request.pieces:
                    metrics.bytes_received.inc(sum(map(len, request.pieces)))
            self._respond(response)
        except Exception:
            # The outermost handler of this callback: the client must be answered.
            log.exception("request %s could not be answered", request.request_id.decode())
            request.fail()
        metrics.request(method, perf_counter() - request.started, error)

    def _respond(self, response: Response) -> None:
        request = self._request
        cors = self._endpoint.cors.headers(request.origin, False)
        headers = [*response.headers, *cors, (b"x-request-id", request.request_id)]
        assert isinstance(response.body, bytes), "no direct request is a download"
        request.respond(response.status, headers, response.body)
