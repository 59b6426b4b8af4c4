"""API keys in a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BindParameter, Dialect, bindparam, delete, select, update

from tusd_py.model.account import ApiKey
from tusd_py.model.audit import AuditEntry
from tusd_py.records.sql.account_rows import KEY_COLUMNS, key_row, keys_table, to_key
from tusd_py.records.sql.dialect import compile_text, insert_or_ignore, with_limit
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.tables import to_microseconds
from tusd_py.records.sql.transactions import Query, SingleStatement

_k = keys_table.c


@dataclass(frozen=True, slots=True)
class ApiKeyStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    add: str
    find: str  # key_id
    page: str  # after_id, limit
    page_of_owner: str  # key_owner, after_id, limit
    revoke: str  # key_id, now
    delete_of: str  # key_owner
    used: str  # key_id, now


def compile_api_key_statements(dialect: Dialect) -> ApiKeyStatements:
    """Every statement, for ``dialect``."""
    identified, owned = _k.id == bindparam("key_id"), _k.owner == bindparam("key_owner")
    page = with_limit(select(*_k).where(_k.id > bindparam("after_id")).order_by(_k.id))
    now: BindParameter[int] = bindparam("now")
    statements = {
        "find": select(*_k).where(identified),
        "page": page,
        "page_of_owner": page.where(owned),
        "revoke": update(keys_table).where(identified, _k.revoked_at.is_(None)).values(revoked_at=now),
        "delete_of": delete(keys_table).where(owned),
        "used": update(keys_table).where(identified).values(last_used_at=now),
    }
    return ApiKeyStatements(
        add=compile_text(dialect, insert_or_ignore(dialect, keys_table, "id"), KEY_COLUMNS),
        **{name: compile_text(dialect, statement) for name, statement in statements.items()},
    )


class SqlApiKeys:
    """Keeps API keys in the database of the records; see ``SqlDatabase.open``."""

    def __init__(self, runner: TransactionRunner, statements: ApiKeyStatements) -> None:
        self._sql = statements
        self._write = runner.write
        self._write_audited = runner.write_audited
        self._read = runner.read

    async def add(self, key: ApiKey, audit: Sequence[AuditEntry] = ()) -> None:
        await self._write_audited(SingleStatement(self._sql.add, key_row(key)), audit)

    async def find(self, key_id: str) -> ApiKey | None:
        found: list[ApiKey] = await self._read(Query(self._sql.find, {"key_id": key_id}, to_key))
        return found[0] if found else None

    async def list_keys(self, *, owner: str = "", after_id: str = "", limit: int = 1000) -> list[ApiKey]:
        values: dict[str, object] = {"after_id": after_id, "limit": limit}
        if owner:
            return await self._read(Query(self._sql.page_of_owner, {**values, "key_owner": owner}, to_key))
        return await self._read(Query(self._sql.page, values, to_key))

    async def revoke(self, key_id: str, now: datetime, audit: Sequence[AuditEntry] = ()) -> bool:
        values: dict[str, object] = {"key_id": key_id, "now": to_microseconds(now)}
        return (await self._write_audited(SingleStatement(self._sql.revoke, values), audit)).count > 0

    async def delete_of(self, owner: str) -> int:
        return (await self._write(SingleStatement(self._sql.delete_of, {"key_owner": owner}))).count

    async def used(self, key_id: str, now: datetime) -> None:
        values: dict[str, object] = {"key_id": key_id, "now": to_microseconds(now)}
        await self._write(SingleStatement(self._sql.used, values, durable=False))
