"""Responses to OPTIONS and HEAD without a protocol version: tus 1.0 headers together with the draft's."""

from __future__ import annotations

from dataclasses import dataclass

from tusd_py.protocol.draft.responses import DraftFormatter
from tusd_py.protocol.errors import TusError
from tusd_py.protocol.outcomes import Discovered, Inspected, Outcome
from tusd_py.protocol.responses import Formatter as TusFormatter
from tusd_py.protocol.responses import Response, ResponseContext


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinedFormatter:
    """Formats responses for both protocols, as clients of the draft may send HEAD without a version."""

    tus: TusFormatter
    draft: DraftFormatter
    has_accept_patch: bool = False

    def format_outcome(self, outcome: Outcome, context: ResponseContext, location: str = "") -> Response:
        """The tus 1.0 response with the headers of the draft added."""
        response = self.tus.format_outcome(outcome, context, location)
        if isinstance(outcome, Discovered):
            response.headers += self.draft.discovery_headers(accept_patch=self.has_accept_patch)
        elif isinstance(outcome, Inspected):
            upload = outcome.upload
            response.headers += [
                self.draft.completeness_header(is_complete=upload.is_complete),
                *self.draft.limit_headers(upload),
            ]
        return response

    def format_refusal(self, error: TusError, context: ResponseContext) -> Response:
        """The tus 1.0 error response."""
        return self.tus.format_refusal(error, context)
