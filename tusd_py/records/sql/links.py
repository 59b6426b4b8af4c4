"""Links in a database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tusd_py.model.audit import AuditEntry
from tusd_py.model.links import Link, LinkKind
from tusd_py.records.sql.link_rows import LinkStatements, link_row, to_link
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.tables import to_microseconds
from tusd_py.records.sql.transactions import Query, SingleStatement


class SqlLinks:
    """Keeps links in the database of the records; see ``SqlDatabase.open``."""

    def __init__(self, runner: TransactionRunner, statements: LinkStatements) -> None:
        self._sql = statements
        self._write = runner.write
        self._write_audited = runner.write_audited
        self._read = runner.read

    async def add(self, link: Link, audit: Sequence[AuditEntry] = ()) -> None:
        await self._write_audited(SingleStatement(self._sql.add, link_row(link)), audit)

    async def find(self, link_id: str) -> Link | None:
        found: list[Link] = await self._read(Query(self._sql.find, {"link_id": link_id}, to_link))
        return found[0] if found else None

    async def list_links(self, kind: LinkKind, *, owner: str = "", before_id: str = "", limit: int) -> list[Link]:
        values: dict[str, object] = {"its_kind": kind.value, "before_id": before_id, "limit": limit}
        if not owner:
            return await self._read(Query(self._sql.list_all, values, to_link))
        return await self._read(Query(self._sql.list_of, {**values, "its_owner": owner}, to_link))

    async def revoke(self, link_id: str, now: datetime, audit: Sequence[AuditEntry] = ()) -> bool:
        values: dict[str, object] = {"link_id": link_id, "now": to_microseconds(now)}
        return (await self._write_audited(SingleStatement(self._sql.revoke, values), audit)).count > 0

    async def claim_use(self, link_id: str, claim: str, now: datetime, until: datetime, sent_max: int) -> bool:
        values = {"now": to_microseconds(now), "until": to_microseconds(until), "sent_max": sent_max}
        return await self._change(self._sql.claim, link_id, new_claim=claim, **values)

    async def release_use(self, link_id: str, claim: str, bytes_sent: int, bytes_max: int, now: datetime) -> None:
        counts = {"more": bytes_sent, "bytes_used_up": bytes_max, "now": to_microseconds(now)}
        await self._change(self._sql.release, link_id, seen_claim=claim, **counts)

    async def ended(self, now: datetime, limit: int) -> list[Link]:
        return await self._read(Query(self._sql.ended, {"now": to_microseconds(now), "limit": limit}, to_link))

    async def settle(self, link_id: str, now: datetime) -> None:
        await self._change(self._sql.settle, link_id, now=to_microseconds(now))

    async def prune(self, before: datetime, limit: int) -> int:
        values: dict[str, object] = {"before": to_microseconds(before), "limit": limit}
        return (await self._write(SingleStatement(self._sql.prune, values, durable=False))).count

    async def _change(self, statement: str, link_id: str, **values: object) -> bool:
        return (await self._write(SingleStatement(statement, {"link_id": link_id, **values}))).count > 0
