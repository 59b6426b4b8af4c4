"""The audit log in a database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import itemgetter

from sqlalchemy import Dialect

from tusd_py.model.audit import AuditEntry, AuditFilter, AuditPage, RecordedEntry, Seal
from tusd_py.model.audit_chain import erased_salt, seal
from tusd_py.records.sql.audit_statements import (
    AuditStatements,
    audit_search,
    entry_row,
    seal_row,
    to_entry,
    to_seal,
)
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.tables import to_microseconds
from tusd_py.records.sql.transactions import Query, WriteResult

_NUMBER_MAX = 2**63 - 1
#: Entries that a page with several filters examines, in a few milliseconds.
_EXAMINED = 500
#: How many rows of a person are changed by one transaction, during which nothing else is written.
_ERASED_AT_ONCE = 500


class SqlAuditLog:
    """Keeps the audit log in the database of the records; see ``SqlDatabase.open``."""

    def __init__(self, runner: TransactionRunner, statements: AuditStatements, dialect: Dialect) -> None:
        self._sql = statements
        self._dialect = dialect
        self._write = runner.write
        self._read = runner.read

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        if entries:
            await self._write(AppendEntries(self._sql.add, [entry_row(entry) for entry in entries]))

    async def list_entries(
        self, matching: AuditFilter, *, before: int | None = None, limit: int
    ) -> list[RecordedEntry]:
        found: list[RecordedEntry] = []
        while len(found) < limit:
            page = await self.search(matching, before=before, limit=limit - len(found))
            found += page.entries
            before = page.next
            if before is None:
                break
        return found

    async def search(self, matching: AuditFilter, *, before: int | None = None, limit: int) -> AuditPage:
        search = audit_search(self._dialect, matching)
        key_at = _NUMBER_MAX
        if before is not None:
            times = await self._read(Query(self._sql.time_of, {"before": before, "limit": 1}, itemgetter(0)))
            if not times:
                return AuditPage(entries=[])
            key_at = times[0]
        examined = max(limit, _EXAMINED) if search.others else limit
        key = {"key_at": key_at, "before": _NUMBER_MAX if before is None else before}
        # One more shows whether there are others.
        rows = await self._read(Query(search.statement, {**search.values, **key, "limit": examined + 1}, tuple))
        found: list[RecordedEntry] = []
        for place, row in enumerate(rows, 1):
            if place > examined:
                break
            if search.matches(row):
                found.append(to_entry(row))
            if place < len(rows) and (len(found) == limit or place == examined):
                return AuditPage(entries=found, next=row[0])
        return AuditPage(entries=found)

    async def page(self, after: int, limit: int) -> list[RecordedEntry]:
        return await self._read(Query(self._sql.page, {"after": after, "limit": limit}, to_entry))

    async def seal(self, now: datetime, key: bytes, limit: int) -> Seal | None:
        sealing = SealEntries(self._sql, now, key, limit)
        await self._write(sealing)
        return sealing.made

    async def seals(self, after: int, limit: int) -> list[Seal]:
        return await self._read(Query(self._sql.seals, {"after": after, "limit": limit}, to_seal))

    async def prune(self, before: datetime, record: AuditEntry, limit: int) -> int:
        return (await self._write(PruneEntries(self._sql, before, record, limit))).count

    async def erase(self, subject: str, pseudonym: str, record: AuditEntry) -> int:
        changed = 0
        # Recorded first: an erasure that is interrupted then shows, and can be repeated.
        if record.subject == subject:
            record = replace(record, subject=pseudonym, address="")
        await self.append([record])
        while count := (await self._write(ErasePerson(self._sql, subject, pseudonym))).count:
            changed += count
        # How many: else another entry could be given this pseudonym, whose erasure is recorded.
        await self.append([replace(record, reason=f"{changed} entries")])
        return changed


@dataclass(frozen=True, slots=True)
class AppendEntries:
    """Append entries to the audit log."""

    statement: str
    rows: Sequence[dict[str, object]]
    durable: bool = True

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        connection.append_in_order(self.statement, self.rows)
        return WriteResult(count=len(self.rows))


@dataclass(slots=True)
class SealEntries:
    """Seal the oldest entries without a seal."""

    sql: AuditStatements
    now: datetime
    key: bytes
    limit: int
    durable: bool = True
    made: Seal | None = field(default=None)

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        self.made = None
        last = connection.execute(self.sql.last_seal, {}).fetchone()
        before, after = (None, 0) if last is None else (to_seal(last), last[1])
        rows = connection.execute(self.sql.page, {"after": after, "limit": self.limit}).fetchall()
        if not rows:
            return WriteResult(count=0)
        made = seal([to_entry(row) for row in rows], before, self.now, self.key)
        # Another process may have made a seal with this number since.
        count = connection.execute(self.sql.add_seal, seal_row(made)).rowcount
        if count:
            self.made = made
        return WriteResult(count=count)


@dataclass(frozen=True, slots=True)
class PruneEntries:
    """Delete the entries of old seals; the last of these seals becomes a checkpoint."""

    sql: AuditStatements
    before: datetime
    record: AuditEntry
    limit: int
    durable: bool = True

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        values: dict[str, object] = {"before": to_microseconds(self.before), "limit": self.limit}
        old = connection.execute(self.sql.old_seals, values).fetchall()
        if not old:
            return WriteResult(count=0)
        number, last_entry = old[-1]
        count = connection.execute(self.sql.delete_entries, {"up_to": last_entry}).rowcount
        if not count:  # the checkpoint of the last time
            return WriteResult(count=0)
        connection.execute(self.sql.delete_seals, {"below": number})
        connection.execute(self.sql.make_checkpoint, {"its_number": number})
        connection.append_in_order(self.sql.add, [entry_row(replace(self.record, object_id=str(number)))])
        return WriteResult(count=count)


@dataclass(frozen=True, slots=True)
class ErasePerson:
    """Erase a person from some of the entries that name it."""

    sql: AuditStatements
    subject: str
    pseudonym: str
    durable: bool = True

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        ids = [self.subject, f"user:{self.subject}"]
        values: dict[str, object] = {"person": self.subject, "ids": json.dumps(ids), "limit": _ERASED_AT_ONCE}
        found = [to_entry(row) for row in connection.execute(self.sql.of_person, values).fetchall()]
        for recorded in found:
            entry = recorded.entry
            changes: dict[str, str] = {}
            if entry.subject == self.subject:
                changes |= {"subject": self.pseudonym, "address": ""}
            if entry.object_id in ids:
                changes["object_id"] = self.pseudonym
            row: dict[str, object] = {
                "its_number": recorded.number,
                "new_subject": changes.get("subject", entry.subject),
                "new_object_id": changes.get("object_id", entry.object_id),
                "new_address": changes.get("address", entry.address),
                "new_salt": erased_salt(recorded, changes),
            }
            connection.execute(self.sql.erase, row)
        return WriteResult(count=len(found))
