"""The contract of records: one for each upload. The record is the truth; bytes past its offset do not count."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from tusd_py.model.frozen import frozen
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.quota import ExhaustedQuota
from tusd_py.model.upload import Upload
from tusd_py.protocol.listing import PageKey, UploadFilter


class RecordsError(Exception):
    """A record could not be read or changed."""


class RecordExists(RecordsError):
    """An upload with this id is already recorded."""


class QuotaExhausted(RecordsError):
    """A quota of the subject that an upload is charged to does not suffice; nothing has changed."""

    exhausted: ExhaustedQuota | None = None


class PartOverused(RecordsError):
    """Final uploads would use a partial upload more often than allowed; nothing was changed."""


class RecordConflict(RecordsError):
    """Another request has changed or deleted the record since it was read; the caller must stop."""


class RecordsUnavailable(RecordsError):
    """The database failed or cannot be reached; a later retry may succeed."""


class RecordsFull(RecordsUnavailable):
    """The medium of the records is full; nothing was changed."""


@frozen()
class UploadPage:
    """A page of a list. ``next`` is where the next one begins; ``None`` if this is the last."""

    uploads: Sequence[Upload]
    next: PageKey | None = None


class Records(Protocol):
    """Keeps ``Upload`` values. When a call returns, its change is durable and visible to every process."""

    async def insert(self, upload: Upload, effects: Effects = NO_EFFECTS, *, part_uses_max: int = 0) -> None:
        """Record a new upload and ``effects`` in one transaction. Raises ``RecordExists``.

        With a token above 0 it replaces, in the same transaction, a tombstone that has its id and the token before
        that: tokens go on, so that no request to the earlier upload can change this one.

        Raises ``PartOverused`` if final uploads would then use one of its parts more than ``part_uses_max`` times, as
        ``count_part_uses`` counts; 0 is no limit.
        """
        ...

    async def find(self, upload_id: str, *, with_parts: bool = True) -> Upload | None:
        """The newest record of this upload, also if it is a tombstone; ``None`` if there is none.

        Without ``with_parts`` a final upload may lack its parts. Then a record is found by as much work as it is found
        out that there is none, so that the time does not show which of the two it is.
        """
        ...

    async def find_all(self, upload_ids: Sequence[str], *, with_parts: bool = True) -> list[Upload | None]:
        """The newest records of these uploads, in the order of the ids; an id may occur twice."""
        ...

    async def update(self, before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> Upload:
        """Save ``after`` if the record still has the offset and the token of ``before``; return it with its new token.

        The compare and the set are one statement, and ``effects`` are written in the same transaction. Raises
        ``RecordConflict`` if the record has been changed or deleted, and ``LeaseLost`` if another worker has the job
        that ``effects`` completes; then nothing has changed.
        """
        ...

    async def delete(self, upload: Upload) -> None:
        """Delete the record if it still has this token; otherwise do nothing."""
        ...

    async def search(self, wanted: UploadFilter, limit: int, after: PageKey | None = None) -> UploadPage:
        """At most ``limit`` uploads that ``wanted`` selects, in its order, following the place ``after``.

        It examines a bounded number of uploads: a page may have fewer than ``limit`` although there are more.
        """
        ...

    async def page(self, after_id: str, limit: int) -> list[Upload]:
        """Uploads that have bytes or may get some, ordered by id, with ids greater than ``after_id``.

        They are those in status ``UPLOADING``, ``PROCESSING`` or ``READY``.
        """
        ...

    async def due(self, now: datetime, limit: int) -> list[Upload]:
        """Uploads whose ``expires_at`` is at or before ``now``, oldest first."""
        ...

    async def needing_recovery(self, limit: int, after_id: str = "") -> list[Upload]:
        """Uploads that the server must continue without a request, ordered by id, with ids greater than ``after_id``.

        They are those in status ``PROCESSING`` without pending steps (those with pending steps have jobs), and the
        final uploads in status ``UPLOADING``.
        """
        ...

    async def finals_waiting(self, part_id: str) -> list[Upload]:
        """Final uploads in status ``UPLOADING`` or ``PROCESSING`` that have this upload among their parts."""
        ...

    async def count_part_uses(self, part_ids: Collection[str]) -> Mapping[str, int]:
        """How often final uploads have each of these uploads as a part, if any; those that have ended do not count."""
        ...

    async def find_empty(self, upload_ids: Collection[str]) -> set[str]:
        """Those of these uploads that are in status ``UPLOADING`` and have no byte."""
        ...

    async def probe(self) -> None:
        """Return if records can be read and changed; raises ``RecordsUnavailable`` otherwise. Changes nothing."""
        ...

    async def close(self) -> None:
        """Finish the calls made before, and close the database."""
        ...
