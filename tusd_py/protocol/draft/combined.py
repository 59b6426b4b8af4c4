"""Answers to questions that name no dialect: what tus 1.0 tells, and beside it what the draft would."""

from __future__ import annotations

from dataclasses import dataclass

from tusd_py.protocol.draft.responses import Formatter as DraftFormatter
from tusd_py.protocol.errors import TusError
from tusd_py.protocol.outcomes import Discovered, Inspected, Outcome
from tusd_py.protocol.responses import Formatter as TusFormatter
from tusd_py.protocol.responses import Response, ResponseContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Formatter:
    """Writes both: for OPTIONS, and for a HEAD without a version, as clients of the coming standard send."""

    tus: TusFormatter
    draft: DraftFormatter

    def format_outcome(self, outcome: Outcome, asked: ResponseContext, location: str = "") -> Response:
        """The answer of tus 1.0 with the headers that only the draft has."""
        reply = self.tus.format_outcome(outcome, asked, location)
        if isinstance(outcome, Discovered):
            reply.headers += self.draft.offer()
        elif isinstance(outcome, Inspected):
            upload = outcome.upload
            reply.headers += [self.draft.completeness(is_complete=upload.is_complete), *self.draft.limit(upload)]
        return reply

    def format_refusal(self, error: TusError, asked: ResponseContext) -> Response:
        """A refusal is told as tus 1.0 tells it."""
        return self.tus.format_refusal(error, asked)
