"""Records in a SQLite file that others share, lock, kill and replace: what the contract does not ask."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.model.events import Event, EventType
from tusd_py.model.jobs import Effects
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.records.sql.records import SqlRecords, is_step

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, tzinfo=UTC)
UPLOAD = Upload(id="shared", length=1_000_000, created_at=NOW, updated_at=NOW)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.sqlite3"


@pytest.fixture
async def records(path: Path) -> AsyncIterator[SqlRecords]:
    opened = await SqlRecords.open(f"sqlite:///{path}")
    yield opened
    await opened.close()


def another_process(act: str, path: Path, count: int) -> subprocess.Popen[str]:
    script = Path(__file__).with_name("another_process.py")
    command = [sys.executable, str(script), act, f"sqlite:///{path}", str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_no_update_is_lost_between_processes(records: SqlRecords, path: Path) -> None:
    """Tasks of two processes advance one upload at once: every step is counted, and no lock reaches a caller."""
    await records.insert(UPLOAD)
    processes = [another_process("advance", path, 50) for _ in range(2)]
    for process in processes:
        await asyncio.to_thread(process.communicate, timeout=60)
        assert process.returncode == 0
    found = await records.find(UPLOAD.id)
    assert found is not None
    assert (found.offset, found.token) == (2 * 4 * 50, 2 * 4 * 50)


async def test_what_was_acknowledged_survives_a_kill(records: SqlRecords, path: Path) -> None:
    """Of a process killed with ``kill -9`` amid a crowd of additions, every one that it had confirmed is there."""
    process = another_process("add", path, 100_000)
    assert process.stdout is not None
    told = [process.stdout.readline().strip() for _ in range(200)]
    process.kill()
    rest, _ = process.communicate(timeout=30)
    told += rest.splitlines()[:-1]  # the last line may be cut
    found = await records.find_all(told)
    assert [upload and upload.id for upload in found] == told
    with closing(sqlite3.connect(path)) as beneath:
        assert beneath.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_lock_that_is_let_go_is_only_a_delay(records: SqlRecords, path: Path) -> None:
    """While another process writes, reads answer and changes wait; then they are made, and nobody is told."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        added = asyncio.create_task(records.insert(UPLOAD))
        assert await records.find(UPLOAD.id) is None
        assert not added.done()
        other.execute("ROLLBACK")
        await asyncio.wait_for(added, 10)
    assert await records.find(UPLOAD.id) == UPLOAD


async def test_a_replaced_file_is_told_to_every_caller(records: SqlRecords, path: Path) -> None:
    """When another file has taken the place of the open one, calls and the probe are refused with a sentence."""
    await records.insert(UPLOAD)
    path.rename(path.with_name("away"))
    path.write_bytes(b"")
    calls = [records.insert(replace(UPLOAD, id="b")), records.find("b"), records.probe(), records.delete(UPLOAD)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RecordsUnavailable] * 4
    assert {str(outcome) for outcome in outcomes} == {"the records file was replaced while in use: restart the server"}


async def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    """Opening a file that is no database raises ``RecordsUnavailable``, and leaves no thread behind."""
    (tmp_path / "picture").write_bytes(b"a holiday picture" * 100)
    with pytest.raises(RecordsUnavailable, match="not a database"):
        await SqlRecords.open(f"sqlite:///{tmp_path}/picture")
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("records-")] == []


async def test_closing_does_what_was_asked_and_ends_the_threads(path: Path) -> None:
    """Calls under way when ``close`` begins are done; afterwards no thread and no log file is left."""
    records = await SqlRecords.open(f"sqlite:///{path}")
    added = [asyncio.create_task(records.insert(replace(UPLOAD, id=f"{number}"))) for number in range(100)]
    await asyncio.sleep(0)
    await records.close()
    await asyncio.gather(*added)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("records-")] == []
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    with closing(sqlite3.connect(path)) as beneath:
        assert beneath.execute("SELECT count(*) FROM uploads").fetchone() == (100,)


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
def test_completion_and_every_end_are_steps(before: Upload, after: Upload, expected: bool) -> None:
    """A change that completes or ends an upload must outlast the loss of power; progress alone need not."""
    assert is_step(before, after) is expected


def test_readiness_may_be_found_again() -> None:
    """From processing to ready is no such step unless it is told: lost, it is done once more after the restart."""
    processing = UPLOAD.advance(1_000_000, NOW).complete(NOW)
    ready = processing.with_status(Status.READY, NOW)
    assert not is_step(processing, ready)
    assert not is_step(processing.hand_to_workers(("validation",), NOW), ready)
    event = Event(id="e", type=EventType.UPLOAD_READY, at=NOW, upload=ready)
    assert is_step(processing, ready, Effects(events=(event,)))
    assert not is_step(UPLOAD, UPLOAD.advance(5, NOW), Effects(events=(event,)))
