"""Events as values: what has happened to an upload. ``event_derivation`` derives them from changes of its record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tusd_py.model.caller import Caller
from tusd_py.model.codes import AccessCode
from tusd_py.model.upload import Upload


class EventType(StrEnum):
    """The types of events: tusd's four ``post-`` hooks, and our own for what follows the last byte of an upload."""

    POST_CREATE = "post-create"
    POST_RECEIVE = "post-receive"  # bytes were saved: at intervals while a body arrives, and always at its end
    POST_FINISH = "post-finish"  # every byte is stored, and pre-finish has accepted the upload
    POST_TERMINATE = "post-terminate"
    UPLOAD_ASSEMBLED = "upload.assembled"  # the parts of a final upload were concatenated
    UPLOAD_VALIDATED = "upload.validated"
    UPLOAD_REJECTED = "upload.rejected"
    UPLOAD_READY = "upload.ready"  # all processing steps are complete
    UPLOAD_FAILED = "upload.failed"
    UPLOAD_EXPIRED = "upload.expired"
    CODE_EXPIRING = "code.expiring"  # an access code ends in a few seconds; the only event that is about no upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. ``id`` is the same in every delivery, so that receivers can recognise a repeated one.

    ``upload`` is the record that was saved with the event; ``None`` for an event that is about an access code, which is
    ``code`` then. ``caller`` is ``None`` when no request caused it.
    """

    id: str
    type: EventType
    at: datetime
    upload: Upload | None
    caller: Caller | None = None
    code: AccessCode | None = None

    @property
    def upload_id(self) -> str:
        """The id of the upload; empty for an event that is about none."""
        return "" if self.upload is None else self.upload.id
