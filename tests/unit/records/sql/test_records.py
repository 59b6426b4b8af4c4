"""Records in a SQLite file that other processes share and lock, that is replaced, and whose writers are killed."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.model.events import Event, EventType
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.records import SqlRecords, needs_fsync
from tusd_py.records.sql.sqlite import SqliteConnection

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, tzinfo=UTC)
UPLOAD = Upload(id="shared", length=1_000_000, created_at=NOW, updated_at=NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.sqlite3"


@pytest.fixture
async def records(path: Path) -> AsyncIterator[SqlRecords]:
    database = await SqlDatabase.open(f"sqlite:///{path}")
    yield database.records
    await database.close()


def another_process(act: str, path: Path, count: int) -> subprocess.Popen[str]:
    script = Path(__file__).with_name("another_process.py")
    command = [sys.executable, str(script), act, f"sqlite:///{path}", str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_concurrent_processes_lose_no_update(records: SqlRecords, path: Path) -> None:
    """Tasks of two processes advance one upload: every step is counted, and no caller gets a lock error."""
    await records.insert(UPLOAD)
    processes = [another_process("advance", path, 50) for _ in range(2)]
    for process in processes:
        await asyncio.to_thread(process.communicate, timeout=60)
        assert process.returncode == 0
    found = await records.find(UPLOAD.id)
    assert found is not None
    assert (found.offset, found.token) == (2 * 4 * 50, 2 * 4 * 50)


async def test_acknowledged_inserts_survive_kill(records: SqlRecords, path: Path) -> None:
    """Of a process killed with SIGKILL while it inserts, every insert that had returned is recorded."""
    process = another_process("add", path, 100_000)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(200)]
    process.kill()
    rest, _ = process.communicate(timeout=30)
    acknowledged += rest.splitlines()[:-1]  # the last line may be cut
    found = await records.find_all(acknowledged)
    assert [upload and upload.id for upload in found] == acknowledged
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_lock_of_other_process_delays_changes_only(records: SqlRecords, path: Path) -> None:
    """While another process writes, reads work and changes wait; then they are saved without an error."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        added = asyncio.create_task(records.insert(UPLOAD))
        assert await records.find(UPLOAD.id) is None
        assert not added.done()
        other.execute("ROLLBACK")
        await asyncio.wait_for(added, 10)
    assert await records.find(UPLOAD.id) == UPLOAD


async def test_replaced_file_raises_for_every_call(records: SqlRecords, path: Path) -> None:
    """When another file is at the path of the open one, all calls raise with a sentence, ``probe`` too."""
    await records.insert(UPLOAD)
    path.rename(path.with_name("away"))
    path.write_bytes(b"")
    calls = [records.insert(replace(UPLOAD, id="b")), records.find("b"), records.probe(), records.delete(UPLOAD)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RecordsUnavailable] * 4
    assert {str(outcome) for outcome in outcomes} == {"the database file was replaced while in use; restart the server"}


async def test_open_of_foreign_file_raises(tmp_path: Path) -> None:
    """Opening a file that is no database raises ``RecordsUnavailable``, and no thread is left."""
    (tmp_path / "picture").write_bytes(b"a holiday picture" * 100)
    with pytest.raises(RecordsUnavailable, match="not a SQLite database"):
        await SqlDatabase.open(f"sqlite:///{tmp_path}/picture")
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("records-")] == []


async def test_close_runs_submitted_calls_and_ends_threads(path: Path) -> None:
    """Calls made before ``close`` are done; afterwards no thread and no write-ahead log is left."""
    records = (await SqlDatabase.open(f"sqlite:///{path}")).records
    added = [asyncio.create_task(records.insert(replace(UPLOAD, id=f"{number}"))) for number in range(100)]
    await asyncio.sleep(0)
    await records.close()
    await asyncio.gather(*added)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("records-")] == []
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM uploads").fetchone() == (100,)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (UPLOAD, UPLOAD.advance(5, NOW), False),
        (UPLOAD, UPLOAD.expiring(NOW), False),
        (UPLOAD, UPLOAD.advance(1_000_000, NOW).complete(NOW), True),
        (UPLOAD, UPLOAD.advance(1_000_000, NOW).complete(NOW).with_status(Status.READY, NOW), True),
        (UPLOAD, UPLOAD.with_status(Status.TERMINATED, NOW), True),
        (UPLOAD, replace(UPLOAD, kind=Kind.FINAL).with_status(Status.PROCESSING, NOW), True),
    ],
)
def test_completion_and_every_end_need_fsync(before: Upload, after: Upload, expected: bool) -> None:
    """A change that completes or ends an upload must survive a power failure; progress alone need not."""
    assert needs_fsync(before, after) is expected


def test_ready_needs_fsync_only_with_events() -> None:
    """From processing to ready needs no fsync unless it has events: if it is lost, the restart repeats it."""
    processing = UPLOAD.advance(1_000_000, NOW).complete(NOW)
    ready = processing.with_status(Status.READY, NOW)
    assert not needs_fsync(processing, ready)
    assert not needs_fsync(processing.hand_to_workers(("validation",), NOW), ready)
    event = Event(id="e", type=EventType.UPLOAD_READY, at=NOW, upload=ready)
    assert needs_fsync(processing, ready, Effects(events=(event,)))
    assert not needs_fsync(UPLOAD, UPLOAD.advance(5, NOW), Effects(events=(event,)))


@pytest.mark.parametrize("is_direct", [False, True])
@pytest.mark.parametrize("metadata", ["", "filename YQ=="])
async def test_an_insertion_is_durable_if_the_upload_is_complete(
    records: SqlRecords, monkeypatch: pytest.MonkeyPatch, is_direct: bool, metadata: str
) -> None:
    """A small upload is complete in its first record, which must survive a power failure; other creations need not."""
    seen: list[bool] = []
    writing = SqliteConnection.writing

    def recording(self: SqliteConnection, *, durable: bool) -> AbstractContextManager[None]:
        seen.append(durable)
        return writing(self, durable=durable)

    monkeypatch.setattr(SqliteConnection, "writing", recording)
    unfinished = replace(UPLOAD, metadata_header=metadata)
    for upload in (unfinished, replace(unfinished, id="complete").advance(1_000_000, NOW).complete(NOW)):
        if is_direct:
            done = asyncio.get_running_loop().create_future()
            records.begin_insert(upload, NO_EFFECTS, done.set_result)
            assert await done is None
        else:
            await records.insert(upload)
    assert seen == [False, True]
