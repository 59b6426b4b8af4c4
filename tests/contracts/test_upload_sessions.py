"""Sessions in every database: chunks in any order, replaced until the session is finalised."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy.dialects import postgresql

from tests.support.postgres import empty_database
from tusd_py.model.upload import Status, Upload
from tusd_py.model.upload_session import UploadSession
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.upload_sessions import compile_session_statements

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


async def test_one_chunk_and_sessions_without_any(database: SqlDatabase) -> None:
    """The upload of one chunk; of the sessions that are named, those that have no chunk and are open."""
    sessions = database.upload_sessions
    for name in ("empty", "begun", "closed"):
        await sessions.insert(replace(SESSION, id=name))
    await sessions.put_chunk("begun", 1, "u1")
    await sessions.finalize("closed", NOW)
    assert [await sessions.chunk(*key) for key in (("begun", 1), ("begun", 0), ("empty", 1))] == ["u1", None, None]
    assert await sessions.find_empty(["empty", "begun", "closed", "unknown"]) == {"empty"}
    assert await sessions.find_empty(["begun"]) == set()


async def test_stored_chunks_are_complete_and_live(database: SqlDatabase) -> None:
    """A chunk counts while its upload is complete: not one that has ended, is unfinished or is gone."""
    sessions = database.upload_sessions
    await sessions.insert(SESSION)
    upload = Upload(id="u", length=3, created_at=NOW, updated_at=NOW)
    whole = upload.advance(3, NOW).complete(NOW)
    for index, each in enumerate((whole, upload, whole.with_status(Status.TERMINATED, NOW), whole)):
        await database.records.insert(replace(each, id=f"u{index}"))
        await sessions.put_chunk("a", index, f"u{index}")
    await sessions.put_chunk("a", 4, "gone")
    assert await sessions.stored_chunks("a") == [(0, "u0", 3), (3, "u3", 3)]
    assert await sessions.stored_chunks("b") == []


async def test_reopened_unless_the_file_is_recorded(database: SqlDatabase) -> None:
    """A closed session takes chunks again, except where an upload has its id."""
    sessions = database.upload_sessions
    for name in ("failed", "complete"):
        await sessions.insert(replace(SESSION, id=name))
        await sessions.finalize(name, NOW)
    await database.records.insert(Upload(id="complete", length=1, created_at=NOW, updated_at=NOW))
    for name in ("failed", "complete", "unknown"):
        await sessions.reopen(name)
    assert [await sessions.put_chunk(name, 0, "u") for name in ("failed", "complete", "unknown")] == [
        True,
        False,
        False,
    ]


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
