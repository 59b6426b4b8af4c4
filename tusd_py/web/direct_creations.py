"""Answers POST without a task: see ``uploads.create_directly``. ``direct`` says which requests come here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import perf_counter

from tusd_py.model.caller import HeaderList
from tusd_py.model.upload import Upload
from tusd_py.protocol.dates import format_date
from tusd_py.protocol.headers import Headers
from tusd_py.protocol.parsing import Parser
from tusd_py.protocol.responses import Formatter
from tusd_py.uploads.create_directly import DirectCreations
from tusd_py.web.ordinary_request import OrdinaryRequest, Run, WholeRequest
from tusd_py.web.tus import TusEndpoint

log = logging.getLogger(__name__)

_CREATED = 201
_LENGTH, _METADATA, _REQUEST_ID = b"upload-length", b"upload-metadata", b"x-request-id"


class DirectCreationAnswers:
    """Begins the creations of one endpoint, whose collection has the path ``collection``.

    ``is_current`` says whether ``creations`` may still be used.
    """

    def __init__(
        self, endpoint: TusEndpoint, creations: DirectCreations, collection: str, is_current: Callable[[], bool]
    ) -> None:
        self.endpoint = endpoint
        parser, formatter = endpoint.protocols.tus.parser, endpoint.protocols.tus.formatter
        assert isinstance(parser, Parser) and isinstance(formatter, Formatter), "those of tus 1.0"
        self.parser = parser
        self.creations = creations
        self.is_current = is_current
        self._formatter = formatter
        self._collection = collection

    def begin(self, request: OrdinaryRequest, headers: Headers) -> bool | RepeatedCreations:
        """Begin to answer a request to the collection; return whether that was possible.

        One without a body that has metadata returns how those begin that are like it.
        """
        endpoint = self.endpoint
        creation = self.parser.parse_plain_creation(headers)
        client = endpoint.client_addresses.of_peer(request.whole.client_host, headers)
        if creation is None or not client:
            return False
        url = endpoint.locator.collection(request.whole.address, self._collection, headers).url
        if not self.creations.begin(
            creation,
            request.pieces,
            client,
            request.principal,
            request.request_id.decode(),
            _Answer(self, request, url, None).on_created,
        ):
            return False
        if creation.body is not None or creation.metadata_header is None or endpoint.authenticator is not None:
            return True
        return RepeatedCreations(self, client, url, request.origin, has_id=_REQUEST_ID in headers)

    def headers(self, upload: Upload, url: str, origin: bytes | None, request_id: bytes, took_body: bool) -> HeaderList:
        """The headers of the response to a creation."""
        headers = self._formatter.created_headers(upload, url + upload.id, took_body=took_body)
        headers += self.endpoint.cors.headers(origin, False)
        headers.append((_REQUEST_ID, request_id))
        return headers


class RepeatedCreations:
    """Begins creations whose requests differ from one that was answered only in the values of ``names``.

    What the other headers say was found out for that one: the version, the address of the client, the URL of the
    collection, the origin. See ``serving.http.known_head``.
    """

    def __init__(
        self, answers: DirectCreationAnswers, client: str, url: str, origin: bytes | None, *, has_id: bool
    ) -> None:
        self.names = (_LENGTH, _METADATA, _REQUEST_ID) if has_id else (_LENGTH, _METADATA)
        self._answers = answers
        self._client = client
        self._url = url
        self._origin = origin
        self._lines: _ResponseLines | None = None

    def begin(self, whole: WholeRequest, run: Run, values: Sequence[str]) -> bool:
        """Begin the creation with these values; return whether that was possible."""
        answers = self._answers
        if not answers.is_current():
            return False
        try:
            if self._lines is None:
                self._lines = _ResponseLines(answers, self._url, self._origin)
            length = answers.parser.parse_repeated_creation(values[0], values[1])
            if length is None:
                return False
            sent = values[2].encode() if len(values) > 2 else None
            request = OrdinaryRequest(whole, run, self._origin, None, answers.endpoint.request_ids.of(sent))
            answer = _Answer(answers, request, self._url, self._lines)
            request_id = request.request_id.decode()
            if not answers.creations.begin_empty(length, values[1], self._client, request_id, answer.on_created):
                return False
        except Exception as failure:  # noqa: BLE001
            # The outermost handler, as in ``direct``: the endpoint meets the same failure, and answers it.
            log.debug("not answered directly: %s: %s", type(failure).__name__, failure)
            return False
        answers.endpoint.metrics.open.inc()
        return True


class _ResponseLines:
    """The headers of responses to creations as lines, made of those for a sample: only three values differ."""

    __slots__ = ("_between", "count")

    #: They appear in no header.
    _ID, _REQUEST = "\x01", b"\x02"
    _EXPIRY = datetime(1970, 1, 1, tzinfo=UTC)

    def __init__(self, answers: DirectCreationAnswers, url: str, origin: bytes | None) -> None:
        at = self._EXPIRY
        sample = Upload(id=self._ID, length=1, created_at=at, updated_at=at, expires_at=at)
        headers = answers.headers(sample, url, origin, self._REQUEST, took_body=False)
        self.count = len(headers)
        text = b"".join(b"%s: %s\r\n" % header for header in headers)
        between = []
        for mark in (self._ID.encode(), format_date(at).encode(), self._REQUEST):
            before, _, text = text.partition(mark)
            between.append(before)
        self._between = (*between, text)

    def of(self, upload: Upload, request_id: bytes) -> bytes | None:
        """The lines for this upload; ``None`` if they are others."""
        if upload.expires_at is None:
            return None
        a, b, c, d = self._between
        return b"".join((a, upload.id.encode(), b, format_date(upload.expires_at).encode(), c, request_id, d))


class _Answer:
    """The response to one creation that has begun. ``lines`` are those of creations without a body."""

    __slots__ = ("_answers", "_lines", "_request", "_url")

    def __init__(
        self, answers: DirectCreationAnswers, request: OrdinaryRequest, url: str, lines: _ResponseLines | None
    ) -> None:
        self._answers = answers
        self._request = request
        self._url = url
        self._lines = lines

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
            metrics.created.inc()
            if request.pieces:
                metrics.bytes_received.inc(upload.offset)
            self._respond(upload)
        except Exception:
            # The outermost handler of this callback: the client must be answered.
            log.exception("request %s: created %s, but could not answer", request.request_id.decode(), upload.id)
            request.fail()
        metrics.request("POST", perf_counter() - request.started, None)

    def _respond(self, upload: Upload) -> None:
        request, known = self._request, self._lines
        lines = None if known is None else known.of(upload, request.request_id)
        if known is None or lines is None or not request.respond_lines(_CREATED, lines, known.count):
            took_body = bool(request.pieces)
            headers = self._answers.headers(upload, self._url, request.origin, request.request_id, took_body)
            request.respond(_CREATED, headers)
