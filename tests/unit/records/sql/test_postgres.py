"""The driver for PostgreSQL: migrations, transactions, deadlocks, lost connections, and what is said of them."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from alembic import command

from tests.support.postgres import PostgresServer, blank_database, new_database
from tusd_py.contracts.records import RecordConflict, RecordsUnavailable
from tusd_py.model.events import Event, EventType
from tusd_py.model.jobs import Effects, NewJob
from tusd_py.model.upload import Upload
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.migrate import alembic_config, migrate, pending
from tusd_py.records.sql.pipelined import PipelinedWriter
from tusd_py.records.sql.postgres import PostgresConnection, PostgresDriver, to_conninfo

NOW = datetime(2026, 3, 1, tzinfo=UTC)
_END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND datname = current_database()"
)


def an_upload(upload_id: str = "a") -> Upload:
    return Upload(id=upload_id, length=100, created_at=NOW, updated_at=NOW)


@pytest.fixture
def url() -> str:
    return new_database()


def test_models_and_migrations_agree(url: str) -> None:
    """The tables that the migrations create are the tables that the code declares."""
    config = alembic_config()
    with PostgresDriver(url).open_for_migration() as connection:
        config.attributes["connection"] = connection
        command.check(config)


def test_eight_processes_migrate_at_once() -> None:
    """Of several that migrate a blank database at once, one applies every migration and the others none."""
    url = blank_database()
    names = pending(url)
    assert names[0].startswith("0001 ")
    with ThreadPoolExecutor(8) as threads:
        applied = list(threads.map(lambda _: migrate(url), range(8)))
    assert sorted(applied, key=len) == [[]] * 7 + [names]


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_url_forms(url: str, scheme: str) -> None:
    """The forms of SQLAlchemy and of other programs mean the same as libpq's."""
    with psycopg.connect(to_conninfo(scheme + url.removeprefix("postgresql"))) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_unreadable_url_does_not_show_its_password() -> None:
    """The refusal of a URL that libpq cannot read does not repeat it."""
    with pytest.raises(RecordsUnavailable) as raised:
        to_conninfo("postgresql://user:hunter2@host/db?nonsense=1")
    assert "hunter2" not in str(raised.value)


@pytest.mark.anyio
async def test_unreachable_server_raises_records_unavailable() -> None:
    """A server that does not answer is reported, without the password of the URL."""
    with pytest.raises(RecordsUnavailable, match="cannot be reached") as raised:
        await SqlDatabase.open("postgresql://user:hunter2@127.0.0.1:1/db")
    assert "hunter2" not in str(raised.value)


@pytest.mark.anyio
async def test_commit_whose_answer_is_lost_is_not_repeated(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The change was committed and the connection broke: the retry finds it, and the caller gets its success."""
    database = await SqlDatabase.open(url)
    await database.records.insert(an_upload())
    broken: list[int] = []
    original = PipelinedWriter._apply_all

    def apply_and_break(self: PipelinedWriter, *arguments: object) -> object:
        finish = original(self, *arguments)  # type: ignore[arg-type]
        connection = self._connection
        assert isinstance(connection, PostgresConnection)
        if not broken:
            broken.append(1)
            driver = connection._driver
            assert driver is not None
            connection.sync()
            driver.execute("COMMIT")
            connection.sync()
            connection.is_committing = True
            connection._run_at_end = lambda _: driver.close()  # type: ignore[method-assign, assignment]
        else:
            connection.__dict__.pop("_run_at_end", None)
        return finish

    monkeypatch.setattr(PipelinedWriter, "_apply_all", apply_and_break)
    found = await database.records.find("a")
    assert found is not None
    job = NewJob(actor="act", key="k", upload_id="a", sequence_key="s")
    saved = await database.records.update(found, found.advance(10, NOW), Effects(jobs=(job,)))
    assert broken
    assert await database.records.find("a") == saved
    assert 1 == len(await database.job_queue.list_jobs(limit=9))
    with pytest.raises(RecordConflict):
        await database.records.update(found, found.advance(10, NOW))
    await database.close()


@pytest.mark.anyio
async def test_connections_that_the_server_ends_are_opened_again(url: str) -> None:
    """After each call an administrator ends every connection; no caller notices."""
    database = await SqlDatabase.open(url)
    await database.records.insert(an_upload())
    upload = await database.records.find("a")
    for offset in range(1, 6):
        with closing(psycopg.connect(url, autocommit=True)) as administrator:
            administrator.execute(_END_OTHERS)
        assert upload is not None
        await database.records.update(upload, upload.advance(offset, NOW))
        upload = await database.records.find("a")
        assert upload is not None
        assert upload.offset == offset
    await database.close()


@pytest.mark.anyio
async def test_deadlock_is_retried(url: str) -> None:
    """A transaction that the server chooses as the victim of a deadlock runs again."""
    database = await SqlDatabase.open(url)
    await database.records.insert(an_upload("a"))
    await database.records.insert(an_upload("b"))
    other = psycopg.connect(url)
    other.execute("SET deadlock_timeout = '1h'")  # the other connection is the victim
    other.execute("SELECT 1 FROM uploads WHERE id = 'b' FOR UPDATE")
    locked = threading.Event()

    def lock_the_other() -> None:
        locked.wait(10)
        other.execute("SELECT 1 FROM uploads WHERE id = 'a' FOR UPDATE")
        other.commit()

    thread = threading.Thread(target=lock_the_other)
    thread.start()
    a, b = await database.records.find("a"), await database.records.find("b")
    assert a is not None
    assert b is not None
    locked.set()
    await asyncio.gather(database.records.update(a, a.advance(1, NOW)), database.records.update(b, b.advance(1, NOW)))
    thread.join(10)
    other.close()
    assert [1, 1] == [found.offset for found in await database.records.find_all(["a", "b"]) if found]
    await database.close()


@pytest.mark.anyio
async def test_head_of_a_sequence_with_two_writers(url: str) -> None:
    """Two processes add and end jobs of one sequence at the same time: there is always a job to claim next."""
    one, two = await SqlDatabase.open(url), await SqlDatabase.open(url)
    await one.job_queue.add_jobs([NewJob(actor="act", key="0", upload_id="a", sequence_key="s")], NOW)
    for number in range(1, 60):
        (job,) = await two.job_queue.claim(NOW, NOW + timedelta(seconds=60), 9)
        new = NewJob(actor="act", key=str(number), upload_id="a", sequence_key="s")
        await asyncio.gather(one.job_queue.add_jobs([new], NOW), two.job_queue.complete(job, NOW))
    assert 1 == len(await two.job_queue.claim(NOW, NOW + timedelta(seconds=60), 9))
    await one.close()
    await two.close()


@pytest.mark.anyio
async def test_reader_after_the_newest_event_misses_none(url: str) -> None:
    """Events of two writers have numbers in the order in which they become visible."""
    databases = [await SqlDatabase.open(url), await SqlDatabase.open(url)]
    reader = await SqlDatabase.open(url)

    async def write(database: SqlDatabase, prefix: str) -> None:
        for number in range(150):
            upload = an_upload(f"{prefix}{number}")
            event = Event(id=upload.id, type=EventType.POST_CREATE, at=NOW, upload=upload, caller=None)
            await database.records.insert(upload, Effects(events=(event,)))

    writing = [asyncio.create_task(write(each, prefix)) for each, prefix in zip(databases, "xy", strict=True)]
    seen: list[int] = []
    while len(seen) < 300:
        is_over = all(task.done() for task in writing)
        page = await reader.job_queue.list_events(after=seen[-1] if seen else 0, limit=1000)
        seen += [number for number, _ in page]
        assert page or not is_over, f"{len(seen)} of 300 events were seen"
    assert seen == sorted(set(seen))
    for each in (*databases, reader):
        await each.close()


@pytest.mark.anyio
async def test_clock_is_that_of_the_database(url: str) -> None:
    """The clock of an opened database agrees with PostgreSQL's, to less than a second."""
    database = await SqlDatabase.open(url)
    assert database.clock is not None
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    assert abs(database.clock() - row[0]) < timedelta(seconds=1)
    await database.close()


@pytest.mark.anyio
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
async def test_restart_of_the_server_loses_nothing(number: signal.Signals) -> None:
    """Each of eight chains of updates goes on while the server restarts, and ends at its last offset."""
    server = PostgresServer()
    try:
        server.start()
        url = server.url(server.create_database())
        database = await SqlDatabase.open(url)

        async def chain(name: str) -> None:
            await database.records.insert(an_upload(name))
            for offset in range(1, 100):
                upload = await database.records.find(name)
                assert upload is not None
                assert upload.offset == offset - 1
                await database.records.update(upload, upload.advance(offset, NOW + timedelta(seconds=offset)))
                await asyncio.sleep(0.01)

        chains = [asyncio.create_task(chain(f"c{index}")) for index in range(8)]
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.stop, number)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.start)
        await asyncio.gather(*chains)
        await database.close()
    finally:
        server.remove()


@pytest.mark.anyio
async def test_paused_server_is_given_up_and_found_again() -> None:
    """A server that stops answering in the middle: calls fail after their time, and work again when it goes on."""
    server = PostgresServer()
    try:
        server.start()
        url = server.url(server.create_database())
        database = await SqlDatabase.open(url)
        await database.records.insert(an_upload())
        for connection in _connections(database):
            connection._answer_seconds = 1.0
            connection._reconnect_seconds = 0.5
            connection.close()  # a new watch takes the shorter time
        upload = await database.records.find("a")
        assert upload is not None
        server.pause()
        began = time.monotonic()
        calls = [database.records.update(upload, upload.advance(5, NOW)), database.records.find("a")]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [RecordsUnavailable, RecordsUnavailable]
        assert time.monotonic() - began < 25
        server.resume()
        found = await database.records.find("a")
        assert found is not None
        assert (await database.records.update(found, found.advance(9, NOW))).offset == 9
        await database.close()
    finally:
        server.resume()
        server.remove()


def _connections(database: SqlDatabase) -> list[PostgresConnection]:
    submits: tuple[Any, ...] = (database.records._write, database.records._read)
    connections = [submit.__self__._run_batch.__self__._connection for submit in submits]
    assert all(isinstance(connection, PostgresConnection) for connection in connections)
    return connections
