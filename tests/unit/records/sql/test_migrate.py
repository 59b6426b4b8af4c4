"""Migrations: of a new file, of older versions, and of files that are not ours."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.model.upload import HistoryEntry, Status
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.migrate import alembic_config, migrate, pending
from tusd_py.records.sql.sqlite import open_engine


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "50% of it" / "records.sqlite3"


@pytest.fixture
def url(path: Path) -> str:
    path.parent.mkdir()
    return f"sqlite:///{path}"


def test_migrate_applies_pending_migrations_once(path: Path, url: str) -> None:
    """``pending`` names what ``migrate`` then applies, and creates no file; afterwards both return nothing."""
    steps = pending(url)
    assert steps[0].startswith("0001 ")
    assert not path.exists()
    assert migrate(url) == steps
    assert (pending(url), migrate(url)) == ([], [])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_models_and_migrations_agree(url: str) -> None:
    """The tables that the migrations create are the tables that the code declares."""
    migrate(url)
    config = alembic_config()
    with open_engine(url).connect() as connection:
        config.attributes["connection"] = connection
        command.check(config)


@pytest.mark.anyio
async def test_database_of_revision_0001_keeps_its_uploads(path: Path, url: str) -> None:
    """Uploads of the first revision are read unchanged, have no pending steps, and can be updated."""
    to_version(url, "0001")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO uploads VALUES"
            " ('a', 'regular', 'processing', 5, 5, 3, 'name QS5wbmc=,type YS9i', '{}', NULL, '',"
            " 0, 0, NULL, 9"
            """, '[{"status":"processing","at":"1970-01-01T00:00:00+00:00","reason":"why"}]', '{"x":1}')"""
        )
        connection.execute("INSERT INTO upload_parts VALUES ('a', 0, 'p')")
    assert [step[:4] for step in migrate(url)] == [
        "0002",
        "0003",
        "0004",
        "0005",
        "0006",
        "0007",
        "0008",
        "0009",
        "0010",
        "0011",
        "0012",
        "0013",
        "0014",
        "0015",
        "0016",
        "0017",
        "0018",
        "0019",
        "0020",
        "0021",
        "0022",
        "0023",
    ]

    records = (await SqlDatabase.open(url)).records
    (upload,) = await records.needing_recovery(9)
    assert upload == await records.find("a")
    assert (upload.id, upload.token, upload.pending_steps, upload.storage) == ("a", 3, (), {"x": 1})
    assert upload.history == (HistoryEntry(Status.PROCESSING, datetime(1970, 1, 1, tzinfo=UTC), "why"),)
    saved = await records.update(upload, upload.hand_to_workers(("validation",), upload.updated_at))
    assert (await records.find("a"), await records.needing_recovery(9)) == (saved, [])
    await records.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM upload_parts").fetchall() == [("a", 0, "p")]
        listed = connection.execute("SELECT name_key, declared_type, detected_type FROM uploads").fetchall()
    assert listed == [("a.png", "a/b", "")]


_CLOSING = (
    "INSERT INTO jobs (actor, consumer, key, lane, upload_id, event_id, state, attempt, token, created_at,"
    " next_attempt_at, ended_at, error, is_first) VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, 0, NULL, '', 1)"
)


@pytest.mark.parametrize(
    ("state", "token", "is_closed"),
    [("dead", 1, True), ("waiting", 0, True), ("running", 1, True), ("waiting", 1, False), ("running", 2, False)],
)
def test_closed_endpoints_move_to_their_table(url: str, path: Path, state: str, token: int, is_closed: bool) -> None:
    """A dead job that closed an endpoint becomes a closed endpoint; one that was retried opens it; other jobs stay."""
    to_version(url, "0002")
    rows = [
        ("webhooks", "a b", "1", "1", "closed a b", "", state, token, 7),
        ("webhooks", "a b", "2", "2", "closed a b", "", state, token, 5),
        ("webhooks", "a b", "3", "3", "upload", "event", "dead", 1, 1),
        ("validation", "", "4", "4", "upload", "", "dead", 1, 1),
    ]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(_CLOSING, rows)
    migrate(url)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT key FROM jobs ORDER BY id").fetchall() == [("3",), ("4",)]
        expected = [("a b", "closed", "answered 410", 5)] if is_closed else []
        assert connection.execute("SELECT * FROM endpoint_state").fetchall() == expected


def test_json_keys_are_renamed_and_values_are_not(url: str, path: Path) -> None:
    """``facts`` and ``awaiting`` are renamed as keys; a reason that quotes them stays as it is."""
    to_version(url, "0002")
    reason = r"said \"facts\": no, \"awaiting\": no"
    entry = f'"status":"failed","at":"1970-01-01T00:00:00+00:00","reason":"{reason}","name":"s","facts":{{"a":"b"}}'
    history = f"[{{{entry}}}]"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO uploads (id, kind, status, offset, token, metadata_values, owner, created_at, updated_at,"
            " history, storage) VALUES ('a', 'regular', 'failed', 0, 0, '{}', '', 0, 0, ?, '{}')",
            (history,),
        )
        body = f'{{"history":{history},"awaiting":["x"],"storage":{{}},"upload":{{}},"parts":[],"caller":null}}'
        connection.execute("INSERT INTO events VALUES (1, 'e', 'upload.failed', 'a', 0, ?)", (body,))
    migrate(url)
    renamed = history.replace('"facts":{', '"details":{')
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT history FROM uploads").fetchall() == [(renamed,)]
        expected = body.replace(history, renamed).replace('"awaiting":[', '"pending_steps":[')
        assert connection.execute("SELECT body FROM events").fetchall() == [(expected,)]


def to_version(url: str, revision: str) -> None:
    config = alembic_config()
    with open_engine(url).connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_newer_revision_is_refused(path: Path, url: str) -> None:
    """A revision that this version cannot use is refused with a sentence, and the database is not changed."""
    migrate(url)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999', oldest_revision = '9998'")
    for function in (migrate, pending):
        with pytest.raises(RecordsUnavailable, match=r"at revision 9999.*newer version of tusd-py has written it"):
            function(url)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


def test_newer_revision_that_this_version_can_use_is_left_alone(path: Path, url: str) -> None:
    """Nothing is pending and nothing is applied; the database stays at the revision of the newer version."""
    migrate(url)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert (pending(url), migrate(url)) == ([], [])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


def test_failed_migration_is_rolled_back(path: Path, url: str) -> None:
    """If a migration fails halfway, all of it is rolled back, and the next start can apply it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE upload_parts (not_ours)")
    with pytest.raises(RecordsUnavailable, match="already exists"):
        migrate(url)
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("upload_parts",)]
        connection.execute("DROP TABLE upload_parts")
    assert migrate(url)[0].startswith("0001 ")


def test_concurrent_starts_migrate_once(url: str) -> None:
    """Processes and threads that start on one new file together all succeed; the migrations are applied once."""
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
        ("nonsense", "is not a URL"),
        ("oracle://host/name", "oracle is not supported for records; use sqlite:///PATH"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("sqlite:////proc/nowhere/records.sqlite3", "cannot be opened"),
    ],
)
def test_unusable_url_is_refused(bad_url: str, sentence: str) -> None:
    """A URL that cannot be opened is refused with a sentence."""
    with pytest.raises(RecordsUnavailable, match=sentence):
        migrate(bad_url)


def test_file_that_is_no_database_is_not_changed(path: Path, url: str) -> None:
    """A file that is not a database is refused, and not one byte is changed."""
    path.write_bytes(b"a holiday picture" * 100)
    with pytest.raises(RecordsUnavailable, match="not a SQLite database"):
        migrate(url)
    assert path.read_bytes() == b"a holiday picture" * 100


def test_migrations_that_take_something_away_record_the_oldest_version() -> None:
    """Since 0013 a migration that drops, renames or alters names the oldest version that can use the schema after it.

    The previous version runs beside this one during an update: it must find what it uses.
    """
    script = ScriptDirectory.from_config(alembic_config())
    for step in script.walk_revisions():
        source = Path(step.path).read_text()
        takes = re.search(r"op\.(drop_|rename_|alter_|execute)|batch_alter_table", source)
        assert step.revision <= "0013" or not takes or hasattr(step.module, "oldest_revision"), step.revision
