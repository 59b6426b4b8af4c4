"""Sessions in every database: chunks in any order, replaced until the session is finalised."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy.dialects import postgresql

from tests.support.postgres import empty_database
from tusd_py.model.upload_session import UploadSession
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.sessions import compile_session_statements

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SESSION = UploadSession(
    id="a",
    owner="ada",
    metadata_header="filename YQ==",
    length=10,
    chunk_count=3,
    chunk_size=4,
    created_at=NOW,
    expires_at=NOW + timedelta(days=7),
)


async def test_chunks_until_finalized(database: SqlDatabase) -> None:
    """Chunks come in any order and replace earlier ones; a finalised or unknown session takes none."""
    sessions = database.upload_sessions
    await sessions.insert(SESSION)
    assert await sessions.find("a") == SESSION
    assert await sessions.find("b") is None
    assert all(await asyncio.gather(*(sessions.put_chunk("a", index, f"u{index}") for index in (2, 0, 1))))
    assert await sessions.put_chunk("a", 1, "again")
    assert not await sessions.put_chunk("b", 0, "u")
    assert await sessions.chunks("a") == {0: "u0", 1: "again", 2: "u2"}
    await sessions.finalize("a", NOW + timedelta(seconds=1))
    await sessions.finalize("a", NOW + timedelta(seconds=2))
    assert not await sessions.put_chunk("a", 1, "late")
    found = await sessions.find("a")
    assert found == replace(SESSION, finalized_at=NOW + timedelta(seconds=1))
    assert (await sessions.chunks("a"))[1] == "again"


async def test_lists_and_ends(database: SqlDatabase) -> None:
    """Newest first, by owner, page by page; expired ones are found, and a deleted one takes its chunks along."""
    sessions = database.upload_sessions
    for number, owner in enumerate(("ada", "bob", "ada")):
        await sessions.insert(
            replace(SESSION, id=f"s{number}", owner=owner, created_at=NOW + timedelta(seconds=number))
        )
    assert [each.id for each in await sessions.page(owner=None, after=None, limit=2)] == ["s2", "s1"]
    after = (int((NOW + timedelta(seconds=1)).timestamp()) * 1_000_000, "s1")
    assert [each.id for each in await sessions.page(owner=None, after=after, limit=2)] == ["s0"]
    assert [each.id for each in await sessions.page(owner="ada", after=None, limit=9)] == ["s2", "s0"]
    await sessions.extend("s1", None)
    await sessions.extend("s0", NOW + timedelta(days=1))
    assert [each.id for each in await sessions.expired(NOW + timedelta(days=2), 9)] == ["s0"]
    await sessions.put_chunk("s0", 0, "u")
    await sessions.delete("s0")
    assert (await sessions.find("s0"), await sessions.chunks("s0")) == (None, {})


async def test_finalize_waits_for_a_chunk_that_is_being_put() -> None:
    """Else a chunk is put into a session whose chunks were read already (PostgreSQL; SQLite has one writer)."""
    url = empty_database()
    opened = await SqlDatabase.open(url)
    await opened.upload_sessions.insert(SESSION)
    sql = compile_session_statements(postgresql.dialect())  # type: ignore[no-untyped-call]
    text = url.replace("postgresql+psycopg:", "postgresql:")
    with psycopg.connect(text) as putting, psycopg.connect(text) as finalizing:
        putting.execute(sql.put_chunk, {"session_id": "a", "position": 0, "upload_id": "u"})
        finalizing.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            finalizing.execute(sql.finalize, {"session_id": "a", "at": 1})
    await opened.close()
