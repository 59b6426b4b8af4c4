"""The contract of the audit log, to which entries are only ever appended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from tusd_py.model.audit import AuditEntry, AuditFilter, AuditPage, RecordedEntry, Seal


class AuditLog(Protocol):
    """Keeps entries in the order in which they were committed. When a call returns, its change is durable.

    Entries about a change of a record are written with it: ``Effects.audit``. Other contracts take entries where their
    changes are audited, and write them in the same transaction.
    """

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """Append these entries. Raises ``RecordsUnavailable``."""
        ...

    async def list_entries(
        self, matching: AuditFilter, *, before: int | None = None, limit: int
    ) -> list[RecordedEntry]:
        """The newest entries that match, newest first; with ``before`` those older than the entry of this number."""
        ...

    async def search(self, matching: AuditFilter, *, before: int | None = None, limit: int) -> AuditPage:
        """As ``list_entries``, but each call examines a bounded number of entries: a page may have fewer rows."""
        ...

    async def page(self, after: int, limit: int) -> list[RecordedEntry]:
        """Entries with numbers above ``after``, in order."""
        ...

    async def seal(self, now: datetime, key: bytes, limit: int) -> Seal | None:
        """Seal the oldest ``limit`` entries without a seal; ``None`` if there are none.

        Of two callers at the same time, one gets ``None``.
        """
        ...

    async def seals(self, after: int, limit: int) -> list[Seal]:
        """Seals with numbers above ``after``, in order."""
        ...

    async def prune(self, before: datetime, record: AuditEntry, limit: int) -> int:
        """Delete the entries of the ``limit`` oldest seals that were made before then; return how many entries.

        The last of these seals stays as a checkpoint, with which the chain begins from then on. ``record`` is
        appended, with the number of that seal as its ``object_id``.
        """
        ...

    async def erase(self, subject: str, pseudonym: str, record: AuditEntry) -> int:
        """Replace ``subject`` by ``pseudonym`` wherever it is the subject or the object of an entry.

        Also empties the addresses of the entries of that subject, and appends ``record`` before and, with the number of
        changed entries as its reason, after that. The chain remains valid. Returns the number of changed entries.
        """
        ...
