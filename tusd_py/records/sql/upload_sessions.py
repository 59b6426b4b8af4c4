"""Sessions in a database."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Dialect,
    Select,
    Text,
    bindparam,
    delete,
    exists,
    insert,
    literal_column,
    null,
    or_,
    select,
    update,
)

from tusd_py.model.upload import Status
from tusd_py.model.upload_session import CHUNKS_MAX, StoredChunk, UploadSession
from tusd_py.records.sql.all_tables import RecordsTable
from tusd_py.records.sql.dialect import compile_text, insert_for, json_elements, with_limit
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.tables import from_microseconds, to_microseconds
from tusd_py.records.sql.transactions import Query, SingleStatement

_sessions = RecordsTable.metadata.tables["upload_sessions"]
_chunks = RecordsTable.metadata.tables["session_chunks"]
_uploads = RecordsTable.metadata.tables["uploads"]
_columns = [column.name for column in _sessions.columns]
_FAR = 2**63 - 1


@dataclass(frozen=True, slots=True)
class SessionStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    add: str
    find: str  # session_id
    find_empty: str  # ids: a JSON array
    chunk: str  # session_id, position
    chunks: str  # session_id, limit
    stored_chunks: str  # session_id, limit
    put_chunk: str  # session_id, position, upload_id
    finalize: str  # session_id, at
    reopen: str  # session_id
    extend: str  # session_id, at
    page: str  # upper, key_at, key_id, limit
    page_of: str  # owner and the same
    delete: str  # session_id
    expired: str  # now, limit


def compile_session_statements(dialect: Dialect) -> SessionStatements:
    """Every statement, for ``dialect``."""
    session_id = bindparam("session_id", type_=Text)
    its = _sessions.c.id == session_id
    session = select(*_sessions.columns)
    at, key_at = bindparam("at", type_=BigInteger), bindparam("key_at", type_=BigInteger)
    page = (
        session.where(_sessions.c.created_at <= bindparam("upper", type_=BigInteger))
        .where(or_(_sessions.c.created_at < key_at, _sessions.c.id < bindparam("key_id", type_=Text)))
        .order_by(_sessions.c.created_at.desc(), _sessions.c.id.desc())
    )
    unfinalized = update(_sessions).where(its, _sessions.c.finalized_at.is_(None))
    empty = select(_sessions.c.id).where(
        _sessions.c.id.in_(json_elements(dialect, "ids")),
        _sessions.c.finalized_at.is_(None),
        ~exists().where(_chunks.c.session_id == _sessions.c.id),
    )
    reopened = update(_sessions).where(its, ~exists().where(_uploads.c.id == session_id)).values(finalized_at=null())
    expired = session.where(_sessions.c.expires_at <= bindparam("now", type_=BigInteger))

    def limited(statement: Select[Any]) -> str:
        return compile_text(dialect, with_limit(statement))

    return SessionStatements(
        add=compile_text(dialect, insert(_sessions), _columns),
        find=compile_text(dialect, session.where(its)),
        find_empty=compile_text(dialect, empty),
        chunk=compile_text(dialect, _chunk()),
        chunks=limited(_chunks_of(_chunks.c.upload_id)),
        stored_chunks=limited(_stored_chunks()),
        put_chunk=compile_text(dialect, _put_chunk(dialect)),
        finalize=compile_text(dialect, unfinalized.values(finalized_at=at)),
        reopen=compile_text(dialect, reopened),
        extend=compile_text(dialect, update(_sessions).where(its).values(expires_at=at)),
        page=limited(page),
        page_of=limited(page.where(_sessions.c.owner == bindparam("owner", type_=Text))),
        delete=compile_text(dialect, delete(_sessions).where(its)),
        expired=limited(expired.order_by(_sessions.c.expires_at)),
    )


def _chunks_of(*columns: Column[Any]) -> Select[Any]:
    its = _chunks.c.session_id == bindparam("session_id", type_=Text)
    return select(_chunks.c.position, *columns).where(its).order_by(_chunks.c.position)


def _chunk() -> Select[Any]:
    its = _chunks.c.session_id == bindparam("session_id", type_=Text)
    return select(_chunks.c.upload_id).where(its, _chunks.c.position == bindparam("position", type_=BigInteger))


def _stored_chunks() -> Select[Any]:
    ended: list[ColumnElement[str]] = [
        literal_column(f"'{status.value}'") for status in (Status.EXPIRED, Status.TERMINATED)
    ]
    return _chunks_of(_chunks.c.upload_id, _uploads.c.offset).where(
        _uploads.c.id == _chunks.c.upload_id, _uploads.c.completed_at.is_not(None), _uploads.c.status.not_in(ended)
    )


def _put_chunk(dialect: Dialect) -> Any:
    session_id = bindparam("session_id", type_=Text)
    opened = select(_sessions.c.id, bindparam("position", type_=BigInteger), bindparam("upload_id", type_=Text)).where(
        _sessions.c.id == session_id, _sessions.c.finalized_at.is_(None)
    )
    # On PostgreSQL the transaction that finalises the session waits, or else this one sees that it did.
    opened = opened.with_for_update(read=True)
    put: Any = insert_for(dialect, _chunks).from_select(["session_id", "position", "upload_id"], opened)
    return put.on_conflict_do_update(
        index_elements=["session_id", "position"], set_={"upload_id": put.excluded.upload_id}
    )


class SqlUploadSessions:
    """Keeps sessions in the database of the records; see ``SqlDatabase.open``."""

    def __init__(self, runner: TransactionRunner, statements: SessionStatements) -> None:
        self._sql = statements
        self._write = runner.write
        self._read = runner.read

    async def insert(self, session: UploadSession) -> None:
        values: dict[str, object] = {name: getattr(session, name) for name in _columns}
        for name in ("created_at", "expires_at", "finalized_at"):
            values[name] = _microseconds(getattr(session, name))
        await self._write(SingleStatement(self._sql.add, values))

    async def find(self, session_id: str) -> UploadSession | None:
        found = await self._read(Query(self._sql.find, {"session_id": session_id}, _session))
        return found[0] if found else None

    async def find_empty(self, session_ids: Collection[str]) -> set[str]:
        return set(await self._read(Query(self._sql.find_empty, {"ids": json.dumps([*session_ids])}, itemgetter(0))))

    async def chunk(self, session_id: str, index: int) -> str | None:
        values: dict[str, object] = {"session_id": session_id, "position": index}
        found = await self._read(Query(self._sql.chunk, values, itemgetter(0)))
        return found[0] if found else None

    async def chunks(self, session_id: str) -> Mapping[int, str]:
        values: dict[str, object] = {"session_id": session_id, "limit": CHUNKS_MAX}
        return dict(await self._read(Query(self._sql.chunks, values, tuple)))

    async def stored_chunks(self, session_id: str) -> list[StoredChunk]:
        values: dict[str, object] = {"session_id": session_id, "limit": CHUNKS_MAX}
        return await self._read(Query(self._sql.stored_chunks, values, StoredChunk._make))

    async def put_chunk(self, session_id: str, index: int, upload_id: str) -> bool:
        values: dict[str, object] = {"session_id": session_id, "position": index, "upload_id": upload_id}
        return (await self._write(SingleStatement(self._sql.put_chunk, values))).count > 0

    async def finalize(self, session_id: str, now: datetime) -> None:
        values: dict[str, object] = {"session_id": session_id, "at": to_microseconds(now)}
        await self._write(SingleStatement(self._sql.finalize, values))

    async def reopen(self, session_id: str) -> None:
        await self._write(SingleStatement(self._sql.reopen, {"session_id": session_id}))

    async def extend(self, session_id: str, expires_at: datetime | None) -> None:
        values: dict[str, object] = {"session_id": session_id, "at": _microseconds(expires_at)}
        await self._write(SingleStatement(self._sql.extend, values, durable=False))

    async def page(self, *, owner: str | None, after: tuple[int, str] | None, limit: int) -> list[UploadSession]:
        key_at, key_id = after or (_FAR, "")
        values: dict[str, object] = {"upper": key_at, "key_at": key_at, "key_id": key_id, "limit": limit}
        if owner is None:
            return await self._read(Query(self._sql.page, values, _session))
        return await self._read(Query(self._sql.page_of, {**values, "owner": owner}, _session))

    async def delete(self, session_id: str) -> None:
        await self._write(SingleStatement(self._sql.delete, {"session_id": session_id}))

    async def expired(self, now: datetime, limit: int) -> list[UploadSession]:
        values: dict[str, object] = {"now": to_microseconds(now), "limit": limit}
        return await self._read(Query(self._sql.expired, values, _session))


def _microseconds(at: datetime | None) -> int | None:
    return None if at is None else to_microseconds(at)


def _session(row: Sequence[Any]) -> UploadSession:
    values = dict(zip(_columns, row, strict=True))
    for name in ("created_at", "expires_at", "finalized_at"):
        values[name] = None if values[name] is None else from_microseconds(values[name])
    return UploadSession(**values)
