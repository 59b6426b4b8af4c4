"""Writes a change and its audit entries in one transaction. Runs in the database threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tusd_py.contracts.records import RecordsError
from tusd_py.model.audit import AuditEntry
from tusd_py.records.sql.audit_statements import entry_row
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.transactions import WriteOp, WriteResult


@dataclass(frozen=True, slots=True)
class Audited:
    """A change with the entries about it: they are appended if it changes anything, and does not fail."""

    change: WriteOp
    statement: str
    rows: Sequence[dict[str, object]]

    @property
    def durable(self) -> bool:
        return self.change.durable

    def apply(self, connection: DatabaseConnection) -> WriteResult | RecordsError:
        result = self.change.apply(connection)
        if isinstance(result, WriteResult) and result.count:
            connection.append_in_order(self.statement, self.rows)
        return result


def audited(change: WriteOp, statement: str, entries: Sequence[AuditEntry]) -> WriteOp:
    """``change`` with ``entries``; ``statement`` adds one."""
    return Audited(change, statement, [entry_row(entry) for entry in entries]) if entries else change
