"""The contract of records: they keep what is known of each upload. The record is the truth; bytes follow it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Upload


class RecordsError(Exception):
    """A record could not be read or changed."""


class RecordExists(RecordsError):
    """An upload with this id is already recorded."""


class PartOverused(RecordsError):
    """Final uploads would use a partial upload more often than allowed; nothing was changed."""


class RecordConflict(RecordsError):
    """Somebody else changed or removed the record since it was read: whoever asked must give up."""


class RecordsUnavailable(RecordsError):
    """The database failed or cannot be reached; trying again later may help."""


class RecordsFull(RecordsUnavailable):
    """The medium of the records has no room left; nothing was changed."""


class Records(Protocol):
    """Keeps ``Upload`` values. What a call has returned from is durable and seen by every process."""

    async def insert(self, upload: Upload, effects: Effects = NO_EFFECTS, *, part_uses_max: int = 0) -> None:
        """Record a new upload, and ``effects`` with it. Raises ``RecordExists``.

        Raises ``PartOverused`` if final uploads would then use one of its parts more than ``part_uses_max`` times, as
        ``count_part_uses`` counts; 0 is no limit.
        """
        ...

    async def find(self, upload_id: str) -> Upload | None:
        """The newest record of this upload, tombstones too."""
        ...

    async def find_all(self, upload_ids: Sequence[str]) -> list[Upload | None]:
        """The newest records of these uploads, in the order asked; an id may be asked twice."""
        ...

    async def update(self, before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> Upload:
        """Save ``after`` if the record still has the offset and the token of ``before``; return it with its new token.

        The compare and the set are one statement, and ``effects`` is written with it. Raises ``RecordConflict`` when
        the
        record has moved on or is gone, and ``LeaseLost`` when the job that this ends is another's by now; then nothing
        has changed.
        """
        ...

    async def delete(self, upload: Upload) -> None:
        """Forget the upload if its record still has this token; otherwise do nothing."""
        ...

    async def due(self, now: datetime, limit: int) -> list[Upload]:
        """Uploads whose ``expires_at`` is at or before ``now``, oldest first."""
        ...

    async def needing_recovery(self, limit: int, after_id: str = "") -> list[Upload]:
        """Uploads that something must still be done for, without any request: ordered by id, beyond ``after_id``.

        They are those in status ``PROCESSING`` that do not await workers, who have jobs for theirs, and the final
        uploads in status ``UPLOADING``.
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
        """Return if records can be read now; raises ``RecordsUnavailable`` otherwise."""
        ...

    async def close(self) -> None:
        """Finish what was asked and let go of the database."""
        ...
