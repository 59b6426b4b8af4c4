"""Which dialect a request is read and answered in: a parser and a formatter for each, found by what its head speaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tusd_py.model.upload import Upload
from tusd_py.protocol.draft.responses import Formatter as DraftFormatter
from tusd_py.protocol.draft.versions import Dialect, Version, negotiate
from tusd_py.protocol.errors import TusError
from tusd_py.protocol.outcomes import Outcome
from tusd_py.protocol.requests import Head, Request
from tusd_py.protocol.responses import Response, ResponseContext

#: Sends an interim response, and tells whether it was sent.
Inform = Callable[[int, Iterable[tuple[bytes, bytes]]], bool]


class Parser(Protocol):
    """From a head to what is asked."""

    def parse(self, head: Head, base_path: str | None = None) -> Request: ...


class Formatter(Protocol):
    """From what came of it to an answer."""

    def format_outcome(self, outcome: Outcome, asked: ResponseContext, location: str = "") -> Response: ...

    def format_refusal(self, error: TusError, asked: ResponseContext) -> Response: ...


@dataclass(frozen=True, slots=True)
class Speech:
    """One dialect. ``interim`` writes its answers before the answer, where it has any."""

    parser: Parser
    formatter: Formatter
    interim: DraftFormatter | None = None

    def listener(self, inform: Inform | None, collection: str) -> Interims | None:
        """What tells the client how its upload goes; ``collection`` is the URL that uploads are below."""
        return None if inform is None or self.interim is None else Interims(self.interim, inform, collection)


@dataclass(frozen=True, slots=True)
class Dialects:
    """All that is spoken here. ``tus`` is also what an answer is written in before it is known what was asked."""

    tus: Speech
    others: Mapping[Dialect | Version, Speech]
    versions: Mapping[int, Version]

    def of(self, head: Head, method: str) -> Speech:
        """What ``head`` speaks, ``method`` being the effective one. Raises ``MalformedHeader``."""
        return self.others.get(negotiate(head, method, self.versions), self.tus)


@dataclass(slots=True)
class Interims:
    """Tells a client by 104 (Upload Resumption Supported) where its upload is and how far it has come."""

    formatter: DraftFormatter
    inform: Inform
    collection: str
    told_bytes: int = -1

    def on_created(self, upload: Upload) -> bool:
        """See ``ProgressListener.created``."""
        interim = self.formatter.announce(upload, self.collection + upload.id)
        return interim is not None and self.inform(interim.status, interim.headers)

    def on_saved(self, upload: Upload) -> None:
        """See ``ProgressListener.saved``."""
        if upload.offset > self.told_bytes and (interim := self.formatter.progress(upload.offset)) is not None:
            self.told_bytes = upload.offset
            self.inform(interim.status, interim.headers)
