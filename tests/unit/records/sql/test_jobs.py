"""The outbox on SQLite: what the contract does not ask."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.dialects import sqlite

from tests.contracts.outbox import LATER, a_job, an_event
from tests.contracts.records import NOW, an_upload
from tusd_py.contracts.job_queue import LeaseLost
from tusd_py.contracts.records import RecordConflict
from tusd_py.model.jobs import Effects
from tusd_py.model.upload import Upload
from tusd_py.records.sql.job_statements import compile_job_statements
from tusd_py.records.sql.records import SqlRecords
from tusd_py.records.sql.tables import to_microseconds

pytestmark = pytest.mark.anyio


class Bell:
    """Counts how often workers are woken."""

    def __init__(self) -> None:
        self.rung = 0

    def __call__(self) -> None:
        self.rung += 1


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/records.sqlite3"


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
async def records(url: str, bell: Bell) -> AsyncIterator[SqlRecords]:
    opened = await SqlRecords.open(url, on_work=bell)
    yield opened
    await opened.close()


async def test_no_job_is_given_to_two_processes(records: SqlRecords, url: str) -> None:
    """Of three processes that claim at once each gets jobs of its own, and all are done once, however laned."""
    await records.add_jobs([a_job(f"{n}", lane=f"l{n % 70}", subscription=f"c{n % 5}") for n in range(300)], NOW)
    script = Path(__file__).with_name("another_worker.py")
    pipe = asyncio.subprocess.PIPE
    processes = [await asyncio.create_subprocess_exec(sys.executable, script, url, stdout=pipe) for _ in range(3)]
    told = []
    for process in processes:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0
        told += output.decode().split()
    # A process that finds only lanes in which others work has nothing to claim, and ends.
    while jobs := await records.claim(NOW, LATER, 50):
        for job in jobs:
            told.append(str(job.id))
            await records.complete(job, NOW)
    assert sorted(map(int, told)) == [*range(1, 301)]


async def test_workers_are_woken_by_new_work_alone(records: SqlRecords, bell: Bell) -> None:
    """A commit that makes or revives jobs rings once, whoever waits for it; no other does."""
    upload = an_upload("a")
    await records.insert(upload, Effects(events=(an_event("e", upload),)))
    await records.insert(an_upload("b"))
    assert bell.rung == 0
    await records.insert(an_upload("c"), Effects(jobs=(a_job("k"), a_job("l"))))
    assert bell.rung == 1
    await records.insert(an_upload("d"), Effects(jobs=(a_job("k"),)))
    with pytest.raises(RecordConflict):
        await records.update(replace(upload, token=9), upload, Effects(jobs=(a_job("m"),)))
    for job in await records.claim(NOW, LATER, 9):
        await records.fail(job, NOW, "")
    assert bell.rung == 1
    assert await records.requeue(job.id, NOW)
    assert bell.rung == 2
    assert await records.delete_job(job.id)
    assert bell.rung == 2


async def test_one_batch_wakes_once(records: SqlRecords, bell: Bell) -> None:
    """However many changes share a commit, workers are woken once for it."""
    uploads = [an_upload(f"u{n}") for n in range(50)]
    await asyncio.gather(*(records.insert(u, Effects(jobs=(a_job(u.id),))) for u in uploads))
    assert 1 <= bell.rung <= 3


async def test_a_lost_job_spoils_no_batch(records: SqlRecords) -> None:
    """In one transaction with twenty changes, the one whose job is lost alone is not made."""
    uploads = [an_upload(f"u{n}") for n in range(20)]
    for upload in uploads:
        await records.insert(upload, Effects(jobs=(a_job(upload.id),)))
    jobs = {job.key: job for job in await records.claim(NOW, LATER, 99)}
    jobs["u7"] = replace(jobs["u7"], token=9)
    asked = [records.update(u, u.advance(1, LATER), Effects(completed_job=jobs[u.id])) for u in uploads]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, LeaseLost)] == [7]
    assert sum(isinstance(outcome, Upload) for outcome in outcomes) == 19
    assert await records.find("u7") == uploads[7]
    assert [job.key for job in await records.claim(LATER, LATER, 99)] == ["u7"]


async def test_a_crowd_costs_the_others_nothing(records: SqlRecords, tmp_path: Path) -> None:
    """A lane of thousands, and a slow consumer's thousands, are not walked through to find what has its turn.

    Counted in the instructions that the database executes for what a claim asks.
    """
    await records.add_jobs(
        [a_job("o1", subscription="other"), a_job("x", lane="x"), a_job("s", subscription="slow")], NOW
    )
    few = claiming_costs(tmp_path)
    await records.add_jobs([a_job(f"x{n}", lane="x") for n in range(3000)], NOW)
    await records.add_jobs([a_job(f"s{n}", subscription="slow") for n in range(3000)], NOW)
    assert claiming_costs(tmp_path) < few + 100
    assert [job.key for job in await records.claim(NOW, LATER, 9, ["slow"])] == ["o1", "x"]


def claiming_costs(directory: Path) -> int:
    sql = compile_job_statements(sqlite.dialect(paramstyle="named"))
    instructions = 0

    def count() -> None:
        nonlocal instructions
        instructions += 1

    with closing(sqlite3.connect(directory / "records.sqlite3")) as beneath:
        beneath.set_progress_handler(count, 1)
        assert beneath.execute(sql.subscriptions).fetchall() == [("",), ("other",), ("slow",)]
        for subscription in ("", "other"):
            facts = {"of_subscription": subscription, "now": to_microseconds(NOW), "limit": 9}
            assert len(beneath.execute(sql.ready, facts).fetchall()) == 1
        assert beneath.execute(sql.next_due).fetchall() == [(to_microseconds(NOW),)]
    return instructions
