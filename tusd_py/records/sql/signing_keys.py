"""The signing key in a database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Dialect, bindparam, select

from tusd_py.records.sql.all_tables import RecordsTable
from tusd_py.records.sql.dialect import compile_text, insert_or_ignore
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.tables import to_microseconds
from tusd_py.records.sql.transactions import Query, SingleStatement

_keys = RecordsTable.metadata.tables["signing_keys"]


@dataclass(frozen=True, slots=True)
class SigningKeyStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    find: str  # name
    add: str


def compile_signing_key_statements(dialect: Dialect) -> SigningKeyStatements:
    """Every statement, for ``dialect``."""
    columns = [column.name for column in _keys.columns]
    return SigningKeyStatements(
        find=compile_text(dialect, select(_keys.c.secret).where(_keys.c.name == bindparam("name"))),
        add=compile_text(dialect, insert_or_ignore(dialect, _keys, "name"), columns),
    )


class SqlSigningKeys:
    """Keeps signing keys in the database of the records; see ``SqlDatabase.open``."""

    def __init__(self, runner: TransactionRunner, statements: SigningKeyStatements) -> None:
        self._sql = statements
        self._write = runner.write
        self._read = runner.read

    async def find_or_create(self, name: str, secret: str, now: datetime) -> str:
        query = Query(self._sql.find, {"name": name}, lambda row: str(row[0]))
        if not (found := await self._read(query)):
            values: dict[str, object] = {"name": name, "secret": secret, "created_at": to_microseconds(now)}
            await self._write(SingleStatement(self._sql.add, values))
            found = await self._read(query)
        return str(found[0])
