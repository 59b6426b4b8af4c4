"""Answers POST without a task: see ``uploads.create_directly``. ``direct`` says which requests come here."""

from __future__ import annotations

import logging
from time import perf_counter

from tusd_py.model.caller import HeaderList
from tusd_py.model.upload import Upload
from tusd_py.protocol.parsing import Parser
from tusd_py.protocol.responses import Formatter
from tusd_py.uploads.create_directly import DirectCreations
from tusd_py.web.ordinary_request import OrdinaryRequest
from tusd_py.web.tus import TusEndpoint

log = logging.getLogger(__name__)

_CREATED = 201


class DirectCreationAnswers:
    """Begins the creations of one endpoint, whose collection has the path ``collection``."""

    def __init__(self, endpoint: TusEndpoint, creations: DirectCreations, collection: str) -> None:
        self.endpoint = endpoint
        parser, formatter = endpoint.protocols.tus.parser, endpoint.protocols.tus.formatter
        assert isinstance(parser, Parser) and isinstance(formatter, Formatter), "those of tus 1.0"
        self.formatter = formatter
        self._parser = parser
        self._creations = creations
        self._collection = collection

    def begin(self, request: OrdinaryRequest) -> bool:
        """Begin to answer a request to the collection; return whether that was possible."""
        endpoint, scope, headers = self.endpoint, request.whole.scope, request.headers
        creation = self._parser.parse_plain_creation(headers)
        client = endpoint.client_addresses.key(scope, headers)
        if creation is None or not client:
            return False
        answer = _Answer(self, request, endpoint.locator.collection(scope, self._collection, headers).url)
        return self._creations.begin(
            creation, request.pieces, client, request.principal, request.request_id.decode(), answer.on_created
        )


class _Answer:
    """The response to one creation that has begun."""

    __slots__ = ("_answers", "_request", "_url")

    def __init__(self, answers: DirectCreationAnswers, request: OrdinaryRequest, url: str) -> None:
        self._answers = answers
        self._request = request
        self._url = url

    def on_created(self, upload: Upload | None) -> None:
        """Send the response; without an upload leave the request to the endpoint. Does not raise."""
        request, metrics = self._request, self._answers.endpoint.metrics
        metrics.open.dec()
        if upload is None:
            # Another try is of no use to a client that is gone, and the backends may be closing.
            if not request.whole.disconnected:
                request.leave_to_task()
            return
        try:
            headers = self._headers(upload)
            metrics.created.inc()
            if request.pieces:
                metrics.bytes_received.inc(upload.offset)
            request.respond(_CREATED, headers)
        except Exception:
            # The outermost handler of this callback: the client must be answered.
            log.exception("request %s: created %s, but could not answer", request.request_id.decode(), upload.id)
            request.fail()
        metrics.request("POST", perf_counter() - request.started, None)

    def _headers(self, upload: Upload) -> HeaderList:
        answers, request = self._answers, self._request
        headers = answers.formatter.created_headers(upload, self._url + upload.id, took_body=bool(request.pieces))
        headers += answers.endpoint.cors.headers(request.origin, False)
        headers.append((b"x-request-id", request.request_id))
        return headers
