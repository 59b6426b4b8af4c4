"""Erases in a database what is recorded about an owner."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Dialect, bindparam, delete, exists, func, literal_column, null, select, update

from tusd_py.contracts.erasure import Erased
from tusd_py.records.sql.accounts import SqlAccounts
from tusd_py.records.sql.all_tables import RecordsTable
from tusd_py.records.sql.api_keys import SqlApiKeys
from tusd_py.records.sql.dialect import compile_text, with_limit
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.transactions import Query, WriteResult

_tables = RecordsTable.metadata.tables
_uploads, _events, _jobs = _tables["uploads"], _tables["events"], _tables["jobs"]
_ENDED: list[ColumnElement[str]] = [literal_column("'terminated'"), literal_column("'expired'")]
#: The owner of the upload in the JSON of an event.
_EVENT_OWNER = {
    "sqlite": "json_extract(events.body, '$.upload.owner')",
    "postgresql": "events.body #>> '{upload,owner}'",
}


@dataclass(frozen=True, slots=True)
class ErasureStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    living: str  # of_owner, after_id, limit
    events: str  # of_owner
    events_left: str  # of_owner
    uploads: str  # of_owner, pseudonym
    limits: str  # of_subject
    grants: tuple[str, ...]  # of_owner; links, access codes and sessions in chunks
    subjects: tuple[str, ...]  # of_subject, new_subject


def compile_erasure_statements(dialect: Dialect) -> ErasureStatements:
    """Every statement, for ``dialect``."""
    u = _uploads.c
    owned, has_ended = u.owner == bindparam("of_owner"), u.status.in_(_ENDED)
    in_event: object = literal_column(_EVENT_OWNER[dialect.name])
    is_pending = exists().where(_jobs.c.event_id == _events.c.id, _jobs.c.ended_at.is_(None))
    living = select(u.id).where(owned, ~has_ended, u.id > bindparam("after_id")).order_by(u.id)
    by_owner = in_event == bindparam("of_owner")
    erased = update(_uploads).where(owned, has_ended)
    nothing: ColumnElement[str] = literal_column("''")
    erased = erased.values(owner=bindparam("pseudonym"), metadata_header=null(), history=literal_column("'[]'"))
    erased = erased.values(name_key=nothing, declared_type=nothing)
    limits = _tables["quota_limits"]

    def renamed(name: str) -> str:
        column = _tables[name].c.subject
        statement = update(_tables[name]).where(column == bindparam("of_subject"))
        return compile_text(dialect, statement.values(subject=bindparam("new_subject")))

    def deleted(name: str) -> str:
        return compile_text(dialect, delete(_tables[name]).where(_tables[name].c.owner == bindparam("of_owner")))

    return ErasureStatements(
        living=compile_text(dialect, with_limit(living)),
        events=compile_text(dialect, delete(_events).where(by_owner, ~is_pending)),
        events_left=compile_text(dialect, select(func.count()).select_from(_events).where(by_owner)),
        uploads=compile_text(dialect, erased),
        limits=compile_text(dialect, delete(limits).where(limits.c.subject == bindparam("of_subject"))),
        grants=tuple(deleted(name) for name in ("links", "access_codes", "upload_sessions")),
        subjects=(renamed("quota_charges"), renamed("quota_counters")),
    )


@dataclass(slots=True)
class Erasure:
    """Everything of one owner, in one transaction."""

    sql: ErasureStatements
    owner: str
    pseudonym: str
    durable: bool = True
    erased: Erased = field(default_factory=lambda: Erased(uploads=0, events=0, events_left=0))

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        of_owner: dict[str, object] = {"of_owner": self.owner}
        of_subject: dict[str, object] = {"of_subject": f"user:{self.owner}"}
        events = connection.execute(self.sql.events, of_owner).rowcount
        uploads = connection.execute(self.sql.uploads, {**of_owner, "pseudonym": self.pseudonym}).rowcount
        connection.execute(self.sql.limits, of_subject)
        for statement in self.sql.grants:
            connection.execute(statement, of_owner)
        for statement in self.sql.subjects:
            connection.execute(statement, {**of_subject, "new_subject": f"user:{self.pseudonym}"})
        (left,) = connection.execute(self.sql.events_left, of_owner).fetchall()[0]
        self.erased = Erased(uploads=uploads, events=events, events_left=int(left))
        return WriteResult(count=uploads)


class SqlPersonalData:
    """Erases in the database of the records; see ``SqlDatabase.open``."""

    def __init__(
        self, runner: TransactionRunner, statements: ErasureStatements, accounts: SqlAccounts, keys: SqlApiKeys
    ) -> None:
        self._sql = statements
        self._accounts = accounts
        self._keys = keys
        self._write = runner.write
        self._read = runner.read

    async def delete_credentials(self, owner: str) -> tuple[bool, int]:
        return await self._accounts.delete(owner), await self._keys.delete_of(owner)

    async def living_uploads(self, owner: str, *, after_id: str, limit: int) -> list[str]:
        values: dict[str, object] = {"of_owner": owner, "after_id": after_id, "limit": limit}
        return await self._read(Query(self._sql.living, values, lambda row: str(row[0])))

    async def erase(self, owner: str, pseudonym: str) -> Erased:
        erasure = Erasure(self._sql, owner, pseudonym)
        await self._write(erasure)
        return erasure.erased
