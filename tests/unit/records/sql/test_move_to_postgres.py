"""Moving an installation from SQLite to PostgreSQL."""

from __future__ import annotations

import shutil
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest

from tests.contracts.job_queue import CALLER, LATER, a_job, an_event
from tests.contracts.records import NOW, a_full_upload, an_upload
from tests.support.postgres import new_database
from tusd_py.contracts.records import RecordsError
from tusd_py.model.jobs import Effects, JobState
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.move_to_postgres import CannotMove, move

pytestmark = pytest.mark.anyio

_OLD_DATA = Path(__file__).parents[3] / "fixtures" / "data-0.1.tar.gz"


async def test_everything_is_moved(tmp_path: Path) -> None:
    """Uploads, parts, events, jobs, leases and closed endpoints are the same afterwards, and numbers go on."""
    url = f"sqlite:///{tmp_path}/records.sqlite3"
    database = await SqlDatabase.open(url)
    upload = a_full_upload()
    event = an_event("e", upload, caller=CALLER)
    await database.records.insert(an_upload("p1"))
    await database.records.insert(
        upload, Effects(events=(event,), jobs=(a_job("one", sequence="s"), a_job("two", sequence="s")))
    )
    await database.job_queue.add_jobs([a_job("deleted")], LATER)
    (running,) = await database.job_queue.claim(LATER, LATER + timedelta(seconds=60), 1)
    assert await database.job_queue.delete_job(3)
    await database.endpoint_states.close_endpoint("hook", "answered 410", NOW)
    jobs = await database.job_queue.list_jobs(limit=9)
    await database.close()

    target = new_database()
    assert {name: count for name, count in move(url, target).items() if count} == {
        "uploads": 2,
        "upload_parts": 3,
        "events": 1,
        "jobs": 2,
        "endpoint_state": 1,
    }
    moved = await SqlDatabase.open(target)
    assert await moved.records.find_all(["p1", upload.id]) == [an_upload("p1"), upload]
    assert await moved.job_queue.list_jobs(limit=9) == jobs
    assert await moved.job_queue.list_events(limit=9) == [(1, event)]
    assert [each.name for each in await moved.endpoint_states.list_closed()] == ["hook"]
    await moved.job_queue.complete(running, LATER)
    (second,) = await moved.job_queue.claim(LATER, LATER + timedelta(seconds=60), 9)
    assert (second.key, second.state) == ("two", JobState.RUNNING)
    await moved.job_queue.add_jobs([a_job("new")], NOW)
    assert (await moved.job_queue.list_jobs(limit=1))[0].id == 4, "3 was the number of a deleted job"
    await moved.close()


async def test_data_of_an_old_version_is_moved(tmp_path: Path) -> None:
    """A database of version 0.1 is migrated and moved in one go."""
    with tarfile.open(_OLD_DATA) as archive:
        archive.extractall(tmp_path, filter="data")
    (path,) = tmp_path.rglob("tusd.sqlite3")
    shutil.copy(path, tmp_path / "copy.sqlite3")
    counts = move(f"sqlite:///{tmp_path}/copy.sqlite3", new_database())
    assert counts["uploads"] > 0
    assert counts["events"] > 0


async def test_target_with_rows_is_refused(tmp_path: Path) -> None:
    """Nothing is moved into a database that is in use, and a source in use is not moved."""
    url, target = f"sqlite:///{tmp_path}/records.sqlite3", new_database()
    source = await SqlDatabase.open(url)
    await source.records.insert(an_upload("a"))
    with pytest.raises(CannotMove, match="another process uses"):
        move(url, target)
    await source.close()
    moved = await SqlDatabase.open(target)
    await moved.records.insert(an_upload("b"))
    with pytest.raises(CannotMove, match="has rows in uploads"):
        move(url, target)
    assert await moved.records.find("a") is None
    await moved.close()


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("postgresql:///a", "sqlite:////tmp/a"),
        ("sqlite:////nowhere/a", "postgresql:///a"),
        ("memory", "postgresql:///a"),
    ],
)
async def test_wrong_way_round_is_refused(source: str, target: str) -> None:
    """Other databases, and a source that does not exist, are refused with a sentence."""
    with pytest.raises(RecordsError):
        move(source, target)
