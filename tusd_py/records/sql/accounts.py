"""Accounts and their sessions in a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Dialect,
    Select,
    bindparam,
    delete,
    literal_column,
    null,
    select,
    update,
)

from tusd_py.model.account import Account, AccountChanges, LoginSession
from tusd_py.model.audit import AuditEntry
from tusd_py.model.links import LinkKind
from tusd_py.model.principal import Role
from tusd_py.records.sql.account_rows import (
    ACCOUNT_COLUMNS,
    SESSION_COLUMNS,
    account_row,
    accounts_table,
    session_row,
    sessions_table,
    to_account,
    to_session_and_account,
    words,
)
from tusd_py.records.sql.all_tables import RecordsTable
from tusd_py.records.sql.dialect import compile_text, insert_or_ignore, with_limit
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.tables import to_microseconds
from tusd_py.records.sql.transactions import Query, WriteResult

_a, _s = accounts_table.c, sessions_table.c
#: A statement with its values.
_Statement = tuple[str, dict[str, object]]
_links, _codes = (RecordsTable.metadata.tables[name] for name in ("links", "access_codes"))


@dataclass(frozen=True, slots=True)
class AccountStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    add: str
    find: str  # name
    page: str  # after_name, limit
    rehash: str  # id, generation, new_hash
    set_password: str  # id, generation, new_hash
    set_disabled: str  # name, disabled
    set_roles: str  # name, new_roles
    delete: str  # name
    end_sessions: str  # name
    end_grants: tuple[str, ...]  # name, now; links and access codes
    add_session: str
    logged_in: str  # id, generation, now
    forget_expired: str  # now
    end_oldest: str  # id, session_id, others_max
    find_session: str  # session_id
    rotate: str  # session_id, before, after, now, new_expiry
    close_session: str  # session_id


def compile_account_statements(dialect: Dialect) -> AccountStatements:
    """Every statement, for ``dialect``."""
    named = _a.name == bindparam("account_name")
    unchanged = (_a.id == bindparam("account_id"), _a.generation == bindparam("seen"))
    new_hash: dict[str, BindParameter[str]] = {"password_hash": bindparam("new_hash")}
    newer = {"generation": _a.generation + literal_column("1")}
    accounts, sessions = accounts_table, sessions_table
    of_account = select(_a.id).where(named).scalar_subquery()
    in_session = _s.id == bindparam("session_id")
    rotated = {
        "digest": bindparam("after"),
        "rotation": _s.rotation + literal_column("1"),
        "rotated_at": bindparam("now"),
        "expires_at": bindparam("new_expiry"),
    }
    statements = {
        "find": select(*_a).where(named),
        "page": with_limit(select(*_a).where(_a.name > bindparam("after_name")).order_by(_a.name)),
        "rehash": update(accounts).where(*unchanged).values(**new_hash),
        "set_password": update(accounts).where(*unchanged).values(**new_hash, **newer),
        "set_disabled": update(accounts).where(named).values(is_disabled=bindparam("disabled"), **newer),
        "set_roles": update(accounts).where(named).values(roles=bindparam("new_roles")),
        "delete": delete(accounts).where(named),
        "end_sessions": delete(sessions).where(_s.account_id == of_account),
        "logged_in": update(accounts).where(*unchanged).values(logged_in_at=bindparam("now")),
        "forget_expired": delete(sessions).where(_s.expires_at < bindparam("now")),
        "end_oldest": delete(sessions).where(_s.id.in_(_oldest_others())),
        "find_session": select(*_s, *_a).where(in_session, _a.id == _s.account_id),
        "rotate": update(sessions).where(in_session, _s.digest == bindparam("before")).values(**rotated),
        "close_session": delete(sessions).where(in_session),
    }
    return AccountStatements(
        add=compile_text(dialect, insert_or_ignore(dialect, accounts, "name"), ACCOUNT_COLUMNS),
        end_grants=_end_grants(dialect),
        add_session=compile_text(dialect, insert_or_ignore(dialect, sessions, "id"), SESSION_COLUMNS),
        **{name: compile_text(dialect, statement) for name, statement in statements.items()},
    )


def _oldest_others() -> Select[tuple[str]]:
    """The sessions of an account beside ``session_id``, but the ``others_max`` that were renewed last."""
    others = select(_s.id).where(_s.account_id == bindparam("account_id"), _s.id != bindparam("session_id"))
    # SQLite has no offset without a limit.
    without_limit: ColumnElement[int] = literal_column(str(2**63 - 1))
    return others.order_by(_s.rotated_at.desc()).limit(without_limit).offset(bindparam("others_max"))


def _end_grants(dialect: Dialect) -> tuple[str, ...]:
    """The statements that revoke the links of an owner and terminate its access codes."""
    name: BindParameter[str] = bindparam("account_name")
    now = bindparam("now", type_=BigInteger)
    # Every kind, by name: the index of owners begins with it.
    kinds = _links.c.kind.in_([literal_column(f"'{kind.value}'") for kind in LinkKind])
    links = update(_links).where(kinds, _links.c.owner == name, _links.c.revoked_at.is_(null()))
    codes = update(_codes).where(_codes.c.owner == name, _codes.c.terminated_at.is_(null()), _codes.c.expires_at > now)
    return compile_text(dialect, links.values(revoked_at=now)), compile_text(dialect, codes.values(terminated_at=now))


@dataclass(frozen=True, slots=True)
class AccountChange:
    """Statements in one transaction; those after the first run only if it has changed a row."""

    statements: Sequence[_Statement]
    durable: bool = True

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        first, *others = self.statements
        count = connection.execute(*first).rowcount
        if count:
            for statement in others:
                connection.execute(*statement)
        return WriteResult(count=count)


@dataclass(frozen=True, slots=True)
class DeleteAccount:
    """Delete the sessions of an account, which are found by its name, then the account."""

    end_sessions: tuple[str, dict[str, object]]
    delete: tuple[str, dict[str, object]]
    durable: bool = True

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        connection.execute(*self.end_sessions)
        return WriteResult(count=connection.execute(*self.delete).rowcount)


class SqlAccounts:
    """Keeps accounts and sessions in the database of the records; see ``SqlDatabase.open``."""

    def __init__(self, runner: TransactionRunner, statements: AccountStatements) -> None:
        self._sql = statements
        self._write = runner.write
        self._write_audited = runner.write_audited
        self._read = runner.read

    async def add(self, account: Account, audit: Sequence[AuditEntry] = ()) -> bool:
        return await self._change((self._sql.add, account_row(account)), audit=audit)

    async def find(self, name: str) -> Account | None:
        found: list[Account] = await self._read(Query(self._sql.find, {"account_name": name}, to_account))
        return found[0] if found else None

    async def list_accounts(self, *, after_name: str = "", limit: int = 1000) -> list[Account]:
        values: dict[str, object] = {"after_name": after_name, "limit": limit}
        return await self._read(Query(self._sql.page, values, to_account))

    async def set_password(
        self, account: Account, password_hash: str, *, revokes: bool, audit: Sequence[AuditEntry] = ()
    ) -> bool:
        if revokes:
            # Any time will do: only a change of ``is_disabled`` records one.
            return await self.change(account, AccountChanges(password_hash=password_hash), account.created_at, audit)
        values: dict[str, object] = {"account_id": account.id, "seen": account.generation, "new_hash": password_hash}
        return await self._change((self._sql.rehash, values), audit=audit)

    async def set_disabled(self, name: str, is_disabled: bool, now: datetime, audit: Sequence[AuditEntry] = ()) -> bool:
        return await self._change(*self._switch(name, is_disabled, now), audit=audit)

    async def set_roles(self, name: str, roles: frozenset[Role], audit: Sequence[AuditEntry] = ()) -> bool:
        return await self._change(self._set_roles(name, roles), audit=audit)

    async def change(
        self, account: Account, changes: AccountChanges, now: datetime, audit: Sequence[AuditEntry] = ()
    ) -> bool:
        statements: list[_Statement] = []
        if changes.password_hash is not None:
            # First: it changes nothing if the account has changed, and then the others are not run.
            seen: dict[str, object] = {"account_id": account.id, "seen": account.generation}
            statements.append((self._sql.set_password, {**seen, "new_hash": changes.password_hash}))
            statements.append(self._end_sessions(account.name))
        if changes.roles is not None:
            statements.append(self._set_roles(account.name, changes.roles))
        if changes.is_disabled is not None:
            statements += self._switch(account.name, changes.is_disabled, now)
        return not statements or await self._change(*statements, audit=audit)

    async def delete(self, name: str) -> bool:
        deletion = DeleteAccount(self._end_sessions(name), (self._sql.delete, {"account_name": name}))
        return (await self._write(deletion)).count > 0

    async def open_session(
        self, account: Account, session: LoginSession, *, sessions_max: int, audit: Sequence[AuditEntry] = ()
    ) -> bool:
        now = to_microseconds(session.created_at)
        return await self._change(
            (self._sql.logged_in, {"account_id": account.id, "seen": account.generation, "now": now}),
            (self._sql.add_session, session_row(session)),
            (self._sql.forget_expired, {"now": now}),
            (
                self._sql.end_oldest,
                {"account_id": account.id, "session_id": session.id, "others_max": sessions_max - 1},
            ),
            audit=audit,
        )

    async def find_session(self, session_id: str) -> tuple[LoginSession, Account] | None:
        query = Query(self._sql.find_session, {"session_id": session_id}, to_session_and_account)
        found: list[tuple[LoginSession, Account]] = await self._read(query)
        return found[0] if found else None

    async def rotate(self, session: LoginSession, digest: str, now: datetime, expires_at: datetime) -> bool:
        values: dict[str, object] = {
            "session_id": session.id,
            "before": session.digest,
            "after": digest,
            "now": to_microseconds(now),
            "new_expiry": to_microseconds(expires_at),
        }
        return await self._change((self._sql.rotate, values))

    async def close_session(self, session_id: str, audit: Sequence[AuditEntry] = ()) -> None:
        await self._change((self._sql.close_session, {"session_id": session_id}), audit=audit)

    def _end_sessions(self, name: str) -> _Statement:
        return self._sql.end_sessions, {"account_name": name}

    def _set_roles(self, name: str, roles: frozenset[Role]) -> _Statement:
        return self._sql.set_roles, {"account_name": name, "new_roles": words(roles)}

    def _switch(self, name: str, is_disabled: bool, now: datetime) -> list[_Statement]:
        ended: dict[str, object] = {"account_name": name, "now": to_microseconds(now)}
        grants = [(statement, ended) for statement in self._sql.end_grants if is_disabled]
        switched: _Statement = (self._sql.set_disabled, {"account_name": name, "disabled": is_disabled})
        return [switched, self._end_sessions(name), *grants]

    async def _change(self, *statements: _Statement, audit: Sequence[AuditEntry] = ()) -> bool:
        return (await self._write_audited(AccountChange(statements), audit)).count > 0
