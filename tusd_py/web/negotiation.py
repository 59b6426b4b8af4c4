"""Selects the protocol of a request: tus 1.0 or a version of the IETF draft, each with its parser and formatter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tusd_py.model.upload import Upload
from tusd_py.protocol.draft.responses import DraftFormatter
from tusd_py.protocol.draft.versions import Dialect, Version, negotiate
from tusd_py.protocol.errors import TusError
from tusd_py.protocol.outcomes import Outcome
from tusd_py.protocol.requests import Head, Request
from tusd_py.protocol.responses import Response, ResponseContext

#: Sends an interim response with this status and these headers. Returns whether it was sent.
SendInterim = Callable[[int, Iterable[tuple[bytes, bytes]]], bool]


class RequestParser(Protocol):
    """Turns a request head into a request value."""

    def parse(self, head: Head, base_path: str | None = None) -> Request: ...


class ResponseFormatter(Protocol):
    """Turns the outcome of a request, or its refusal, into a response."""

    def format_outcome(self, outcome: Outcome, context: ResponseContext, location: str = "") -> Response: ...

    def format_refusal(self, error: TusError, context: ResponseContext) -> Response: ...


@dataclass(frozen=True, slots=True)
class NegotiatedProtocol:
    """One protocol. ``interim`` formats its interim responses; ``None`` if the protocol has none."""

    parser: RequestParser
    formatter: ResponseFormatter
    interim: DraftFormatter | None = None

    def progress_listener(self, send_interim: SendInterim | None, collection: str) -> InterimResponses | None:
        """Return a listener that reports the progress of an upload to the client by interim responses.

        ``collection`` is the URL of the collection, with a slash at its end. Returns ``None`` if the server or the
        protocol has no interim responses.
        """
        if send_interim is None or self.interim is None:
            return None
        return InterimResponses(self.interim, send_interim, collection)


@dataclass(frozen=True, slots=True)
class Protocols:
    """All protocols of this server. ``tus`` also formats the refusal of a request whose protocol is not known yet."""

    tus: NegotiatedProtocol
    others: Mapping[Dialect | Version, NegotiatedProtocol]
    versions: Mapping[int, Version]

    def select(self, head: Head, method: str) -> NegotiatedProtocol:
        """Return the protocol of ``head``; ``method`` is the effective one. Raises ``MalformedHeader``."""
        return self.others.get(negotiate(head, method, self.versions), self.tus)


@dataclass(slots=True)
class InterimResponses:
    """Reports the URL and the offset of an upload to its client by 104 (Upload Resumption Supported)."""

    formatter: DraftFormatter
    send_interim: SendInterim
    collection: str
    sent_offset: int = -1

    def on_created(self, upload: Upload) -> bool:
        """See ``ProgressListener.on_created``."""
        interim = self.formatter.created_interim(upload, self.collection + upload.id)
        return interim is not None and self.send_interim(interim.status, interim.headers)

    def on_saved(self, upload: Upload) -> None:
        """See ``ProgressListener.on_saved``."""
        if upload.offset > self.sent_offset and (interim := self.formatter.progress_interim(upload.offset)) is not None:
            self.sent_offset = upload.offset
            self.send_interim(interim.status, interim.headers)
