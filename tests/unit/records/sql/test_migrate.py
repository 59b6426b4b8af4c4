"""The schema, step by step, from a file that is not there."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command

from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.model.upload import HistoryEntry, Status
from tusd_py.records.sql.migrate import alembic_config, migrate, pending
from tusd_py.records.sql.records import SqlRecords
from tusd_py.records.sql.sqlite import open_engine


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "50% of it" / "records.sqlite3"


@pytest.fixture
def url(path: Path) -> str:
    path.parent.mkdir()
    return f"sqlite:///{path}"


def test_a_database_is_migrated_once(path: Path, url: str) -> None:
    """``pending`` names what ``migrate`` then applies, creates no file, and afterwards both have nothing to say."""
    steps = pending(url)
    assert steps[0].startswith("0001 ")
    assert not path.exists()
    assert migrate(url) == steps
    assert (pending(url), migrate(url)) == ([], [])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_models_and_migrations_agree(url: str) -> None:
    """The tables that the steps make are the tables that the code declares."""
    migrate(url)
    config = alembic_config()
    with open_engine(url).connect() as connection:
        config.attributes["connection"] = connection
        command.check(config)


def test_a_database_of_the_version_before_keeps_its_uploads(path: Path, url: str) -> None:
    """Uploads recorded before there were events are found as they were, await nothing, and can be worked on."""
    to_first_version(url)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO uploads VALUES ('a', 'regular', 'processing', 5, 5, 3, 'n YQ==', '{}', NULL, '', 0, 0, NULL, 9"
            """, '[{"status":"processing","at":"1970-01-01T00:00:00+00:00","reason":"why"}]', '{"x":1}')"""
        )
        connection.execute("INSERT INTO upload_parts VALUES ('a', 0, 'p')")
    assert [step[:4] for step in migrate(url)] == ["0002", "0003"]

    async def look() -> None:
        records = await SqlRecords.open(url)
        (upload,) = await records.needing_recovery(9)
        assert upload == await records.find("a")
        assert (upload.id, upload.token, upload.pending_steps, upload.storage) == ("a", 3, (), {"x": 1})
        assert upload.history == (HistoryEntry(Status.PROCESSING, datetime(1970, 1, 1, tzinfo=UTC), "why"),)
        saved = await records.update(upload, upload.hand_to_workers(("validation",), upload.updated_at))
        assert (await records.find("a"), await records.needing_recovery(9)) == (saved, [])
        await records.close()

    asyncio.run(look())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM upload_parts").fetchall() == [("a", 0, "p")]


def to_first_version(url: str) -> None:
    config = alembic_config()
    with open_engine(url).connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")


def test_a_newer_database_is_refused(path: Path, url: str) -> None:
    """A revision that this version does not know is refused with a sentence, and the database stays as it is."""
    migrate(url)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for ask in (migrate, pending):
        with pytest.raises(RecordsUnavailable, match=r"at revision 9999.*newer version of tusd-py has written it"):
            ask(url)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


def test_a_step_that_fails_leaves_nothing(path: Path, url: str) -> None:
    """If a step fails halfway, what it did before is undone, so that the next start begins where this one did."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE upload_parts (of_somebody_else)")
    with pytest.raises(RecordsUnavailable, match="already exists"):
        migrate(url)
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("upload_parts",)]
        connection.execute("DROP TABLE upload_parts")
    assert migrate(url)[0].startswith("0001 ")


def test_of_many_that_start_at_once_one_migrates(url: str) -> None:
    """Processes and threads that start on one new file together all succeed, and the steps are applied once."""
    program = f"from tusd_py.records.sql.migrate import migrate; print(len(migrate({url!r})))"
    processes = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(2)]
    with ThreadPoolExecutor(3) as pool:
        counts = [len(steps) for steps in pool.map(migrate, [url] * 3)]
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        counts.append(int(output))
    assert sorted(count > 0 for count in counts) == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("bad_url", "sentence"),
    [
        ("nonsense", "is no URL"),
        ("oracle://host/name", "cannot be kept in oracle; sqlite:///PATH is supported"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("sqlite:////proc/nowhere/records.sqlite3", "cannot be opened"),
    ],
)
def test_a_url_that_leads_nowhere_is_told(bad_url: str, sentence: str) -> None:
    """What cannot be opened is refused in words."""
    with pytest.raises(RecordsUnavailable, match=sentence):
        migrate(bad_url)


def test_what_is_no_database_is_left_alone(path: Path, url: str) -> None:
    """A file of something else is refused and not changed by a byte."""
    path.write_bytes(b"a holiday picture" * 100)
    with pytest.raises(RecordsUnavailable, match="not a database"):
        migrate(url)
    assert path.read_bytes() == b"a holiday picture" * 100
