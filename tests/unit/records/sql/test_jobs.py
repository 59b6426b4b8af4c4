"""The job queue on SQLite: several processes and connections, wake-ups, and the cost of a claim."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.dialects import sqlite

from tests.contracts.job_queue import LATER, a_job, an_event
from tests.contracts.records import NOW, an_upload
from tusd_py.contracts.job_queue import LeaseLost
from tusd_py.contracts.records import RecordConflict
from tusd_py.model.jobs import Effects, Job, JobState
from tusd_py.model.upload import Upload
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.job_statements import compile_job_statements
from tusd_py.records.sql.jobs import Claim
from tusd_py.records.sql.sqlite import SqliteConnection, open_engine
from tusd_py.records.sql.tables import to_microseconds
from tusd_py.records.sql.transactions import WriteResult

pytestmark = pytest.mark.anyio


class WakeUps:
    """Counts the calls of ``on_work``."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/records.sqlite3"


@pytest.fixture
def wake_ups() -> WakeUps:
    return WakeUps()


@pytest.fixture
async def database(url: str, wake_ups: WakeUps) -> AsyncIterator[SqlDatabase]:
    opened = await SqlDatabase.open(url, on_work=wake_ups)
    yield opened
    await opened.close()


async def test_concurrent_processes_claim_each_job_once(database: SqlDatabase, url: str) -> None:
    """Three processes that claim at once get different jobs, and each job is completed once, in 70 sequences."""
    await database.job_queue.add_jobs(
        [a_job(f"{n}", sequence=f"l{n % 70}", subscription=f"c{n % 5}") for n in range(300)], NOW
    )
    script = Path(__file__).with_name("another_worker.py")
    pipe = asyncio.subprocess.PIPE
    processes = [await asyncio.create_subprocess_exec(sys.executable, script, url, stdout=pipe) for _ in range(3)]
    claimed = []
    for process in processes:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0
        claimed += output.decode().split()
    # A process ends when it finds nothing to claim, which is so while others run the heads of all sequences.
    while jobs := await database.job_queue.claim(NOW, LATER, 50):
        for job in jobs:
            claimed.append(str(job.id))
            await database.job_queue.complete(job, NOW)
    assert sorted(map(int, claimed)) == [*range(1, 301)]


async def test_only_new_work_wakes_workers(database: SqlDatabase, wake_ups: WakeUps) -> None:
    """A commit that adds or requeues jobs calls ``on_work`` once; no other commit does."""
    upload = an_upload("a")
    await database.records.insert(upload, Effects(events=(an_event("e", upload),)))
    await database.records.insert(an_upload("b"))
    assert wake_ups.count == 0
    await database.records.insert(an_upload("c"), Effects(jobs=(a_job("k"), a_job("l"))))
    assert wake_ups.count == 1
    await database.records.insert(an_upload("d"), Effects(jobs=(a_job("k"),)))
    with pytest.raises(RecordConflict):
        await database.records.update(replace(upload, token=9), upload, Effects(jobs=(a_job("m"),)))
    for job in await database.job_queue.claim(NOW, LATER, 9):
        await database.job_queue.fail(job, NOW, "")
    assert wake_ups.count == 1
    assert await database.job_queue.requeue(job.id, NOW)
    assert wake_ups.count == 2
    assert await database.job_queue.delete_job(job.id)
    assert wake_ups.count == 2


async def test_one_batch_wakes_workers_once(database: SqlDatabase, wake_ups: WakeUps) -> None:
    """``on_work`` is called once for a commit, however many changes share it."""
    uploads = [an_upload(f"u{n}") for n in range(50)]
    await asyncio.gather(*(database.records.insert(u, Effects(jobs=(a_job(u.id),))) for u in uploads))
    assert 1 <= wake_ups.count <= 3


async def test_lost_lease_fails_only_its_own_change(database: SqlDatabase) -> None:
    """Of twenty changes in one transaction, only the one whose lease is lost is not saved."""
    uploads = [an_upload(f"u{n}") for n in range(20)]
    for upload in uploads:
        await database.records.insert(upload, Effects(jobs=(a_job(upload.id),)))
    jobs = {job.key: job for job in await database.job_queue.claim(NOW, LATER, 99)}
    jobs["u7"] = replace(jobs["u7"], token=9)
    calls = [database.records.update(u, u.advance(1, LATER), Effects(completed_job=jobs[u.id])) for u in uploads]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, LeaseLost)] == [7]
    assert sum(isinstance(outcome, Upload) for outcome in outcomes) == 19
    assert await database.records.find("u7") == uploads[7]
    assert [job.key for job in await database.job_queue.claim(LATER, LATER, 99)] == ["u7"]


async def test_long_sequence_and_slow_subscription_cost_no_steps(database: SqlDatabase, tmp_path: Path) -> None:
    """A sequence of 3000 jobs, and 3000 jobs of a slow subscription, do not make a claim of other jobs slower.

    Measured in the virtual-machine instructions that SQLite executes for the queries of a claim.
    """
    await database.job_queue.add_jobs(
        [a_job("o1", subscription="other"), a_job("x", sequence="x"), a_job("s", subscription="slow")], NOW
    )
    few = claim_instructions(tmp_path)
    await database.job_queue.add_jobs([a_job(f"x{n}", sequence="x") for n in range(3000)], NOW)
    await database.job_queue.add_jobs([a_job(f"s{n}", subscription="slow") for n in range(3000)], NOW)
    assert claim_instructions(tmp_path) < few + 100
    assert [job.key for job in await database.job_queue.claim(NOW, LATER, 9, ["slow"])] == ["o1", "x"]


def claim_instructions(directory: Path) -> int:
    sql = compile_job_statements(sqlite.dialect(paramstyle="named"))
    instructions = 0

    def count() -> None:
        nonlocal instructions
        instructions += 1

    with closing(sqlite3.connect(directory / "records.sqlite3")) as connection:
        connection.set_progress_handler(count, 1)
        assert connection.execute(sql.lanes).fetchall() == [("",), ("other",), ("slow",)]
        for lane in ("", "other"):
            values = {"of_lane": lane, "now": to_microseconds(NOW), "limit": 9}
            assert len(connection.execute(sql.ready, values).fetchall()) == 1
        assert connection.execute(sql.next_due).fetchall() == [(to_microseconds(NOW),)]
    return instructions


class AutocommitConnection(SqliteConnection):
    """Each statement is a transaction of its own, as on a database where writers do not exclude each other.

    ``before_lease`` runs once: after a claim has read the due jobs, and before it leases the first of them.
    """

    sql = compile_job_statements(sqlite.dialect(paramstyle="named"))
    before_lease: Callable[[], object] | None = None

    @contextmanager
    def writing(self, *, durable: bool) -> Iterator[None]:
        with self.reading():
            pass  # opens the connection
        yield

    def execute(self, statement: str, values: Mapping[str, object]) -> sqlite3.Cursor:
        if statement == self.sql.lease and self.before_lease is not None:
            race, self.before_lease = self.before_lease, None
            race()
        return super().execute(statement, values)

    def claim(self, limit: int = 9, *, now: datetime = NOW, until: datetime = LATER) -> WriteResult:
        with self.writing(durable=False):
            return Claim(self.sql, to_microseconds(now), to_microseconds(until), limit, ()).apply(self)

    def update(self, statement: str, job: Job, at: datetime) -> None:
        with self.writing(durable=False):
            values = {"job_id": job.id, "seen_token": job.token, "at": to_microseconds(at), "why": ""}
            assert super().execute(statement, values).rowcount == 1


@pytest.fixture
def connections(url: str, database: SqlDatabase) -> Iterator[tuple[AutocommitConnection, AutocommitConnection]]:
    engine = open_engine(url)
    first, second = AutocommitConnection(engine), AutocommitConnection(engine)
    yield first, second
    first.close()
    second.close()


async def test_racing_claims_lease_each_job_once(
    database: SqlDatabase, connections: tuple[AutocommitConnection, AutocommitConnection]
) -> None:
    """Of two claims that have read the same due jobs, the UPDATE decides which one leases each of them."""
    first, second = connections
    await database.job_queue.add_jobs([a_job(f"{n}") for n in range(5)], NOW)
    raced: list[WriteResult] = []
    first.before_lease = lambda: raced.append(second.claim(3))
    late = first.claim()
    (early,) = raced
    assert [job.key for job in early.jobs] == ["0", "1", "2"]
    assert [job.key for job in late.jobs] == ["3", "4"]
    for job in (*early.jobs, *late.jobs):
        assert await database.job_queue.find_job(job.id) == job
        assert (job.attempt, job.token) == (0, 1)


@pytest.mark.parametrize("change", ["renew", "complete", "retry", "fail"])
async def test_claim_loses_to_change_by_lease_holder(
    database: SqlDatabase, connections: tuple[AutocommitConnection, AutocommitConnection], change: str
) -> None:
    """A holder whose lease has expired may still renew or end it while another claim is under way: the claim loses."""
    first, second = connections
    await database.job_queue.add_jobs([a_job("k")], NOW)
    (held,) = second.claim().jobs
    much_later = LATER + timedelta(seconds=60)
    first.before_lease = lambda: second.update(getattr(second.sql, change), held, much_later)
    assert first.claim(now=LATER, until=much_later).jobs == []
    job = await database.job_queue.find_job(held.id)
    assert job is not None
    assert job.token == held.token
    states = {
        "renew": JobState.RUNNING,
        "complete": JobState.DONE,
        "retry": JobState.WAITING,
        "fail": JobState.DEAD,
    }
    assert job.state is states[change]
