"""The database fails at the first, second, third ... statement: a record is saved with its events and jobs, or not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from tests.contracts.job_queue import LATER, a_job, an_event
from tests.contracts.records import NOW, an_upload
from tests.faults.failing import Faults
from tests.support.database import empty_database
from tusd_py.contracts.records import RecordConflict, RecordsUnavailable
from tusd_py.model.jobs import Effects
from tusd_py.model.upload import Upload
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.job_statements import compile_job_statements
from tusd_py.records.sql.rows import inserted_row, to_row
from tusd_py.records.sql.sqlite import SqliteConnection, open_engine
from tusd_py.records.sql.statements import compile_statements
from tusd_py.records.sql.transactions import RecordChange, Writer, WriteResult, effect_rows

pytestmark = pytest.mark.anyio

T = TypeVar("T")

_STATEMENTS_MAX = 60


class FailingConnection(SqliteConnection):
    """A ``SqliteConnection`` whose nth statement fails before it runs, or after it, as if the process was killed."""

    faults = Faults()
    after = False

    def execute(self, statement: str, values: Mapping[str, object]) -> sqlite3.Cursor:
        return self._failing(lambda: super(FailingConnection, self).execute(statement, values))

    def execute_many(self, statement: str, rows: Sequence[Mapping[str, object] | Sequence[object]]) -> int:
        return self._failing(lambda: super(FailingConnection, self).execute_many(statement, rows))

    def _failing(self, run: Callable[[], T]) -> T:
        result = run() if self.after else None
        if self.faults.is_due():
            raise sqlite3.OperationalError("a fault of the test")
        return run() if result is None else result


class Scenario:
    """A database in which one upload has a running job, and three changes that are made in one batch."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "records.sqlite3"
        self.path.write_bytes(empty_database())
        engine = open_engine(f"sqlite:///{self.path}")
        self.connection = FailingConnection(engine)
        self.sql, self.job_sql = compile_statements(engine.dialect), compile_job_statements(engine.dialect)
        self.writer = Writer(self.connection, self.sql, always_durable=False)

    async def set_up(self) -> None:
        database = await SqlDatabase.open(f"sqlite:///{self.path}")
        self.begun = an_upload("begun", length=None)
        await database.records.insert(
            self.begun, Effects(jobs=(a_job("running", sequence="x"), a_job("behind", sequence="x")))
        )
        (self.job,) = await database.job_queue.claim(NOW, LATER, 9)
        await database.close()

    def changes(self) -> list[RecordChange]:
        adding = [self.change(None, an_upload(name, length=None), self.effects(name)) for name in ("a", "b")]
        after = self.begun.advance(5, NOW + timedelta(seconds=1)).with_token(1)
        effect = self.change(self.begun, after, self.effects("begun", completes_job=True))
        return [adding[0], effect, adding[1]]

    def effects(self, name: str, *, completes_job: bool = False) -> Effects:
        events = tuple(an_event(f"{name} {number}", an_upload(name)) for number in range(2))
        jobs = tuple(a_job(f"{event.id} job", event_id=event.id, upload_id=name) for event in events)
        return Effects(events=events, jobs=jobs, completed_job=self.job if completes_job else None)

    def change(self, before: Upload | None, after: Upload, effects: Effects) -> RecordChange:
        row = inserted_row(after) if before is None else to_row(after, after.token)
        if before is not None:
            row |= {"seen_id": before.id, "seen_offset": before.offset, "seen_token": before.token}
        statement = self.sql.insert if before is None else self.sql.update
        return RecordChange(statement, row, RecordConflict(after.id), effects=effect_rows(self.job_sql, after, effects))

    def saved(self) -> dict[str, bool]:
        """Which of the changes are saved; asserts that each one has all of its events and jobs, or none."""
        with closing(sqlite3.connect(self.path)) as connection:

            def count(rows: str, *values: str) -> int:
                number: int = connection.execute(f"SELECT count(*) FROM {rows}", values).fetchone()[0]
                return number

            saved = {}
            for name in ("a", "begun", "b"):
                offset = "offset = 5" if name == "begun" else "offset = 0"
                is_saved = count(f"uploads WHERE id = ? AND {offset}", name)
                assert count("events WHERE upload_id = ?", name) == 2 * is_saved
                assert count("jobs WHERE upload_id = ? AND event_id <> ''", name) == 2 * is_saved
                saved[name] = bool(is_saved)
            states = connection.execute(
                "SELECT key, state, is_head FROM jobs WHERE sequence_key = 'x' ORDER BY id"
            ).fetchall()
            if saved["begun"]:
                assert states == [("running", "done", 0), ("behind", "waiting", 1)]
            else:
                assert states == [("running", "running", 1), ("behind", "waiting", 0)]
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return saved


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("lasting", [False, True])
async def test_failing_statement_saves_all_or_nothing(tmp_path: Path, lasting: bool, after: bool) -> None:
    """Whichever statement of a batch fails, each change is saved with its events and jobs, or none of them is.

    The writer's results say which; after a fault that does not last, every change is saved.
    """
    for nth in range(1, _STATEMENTS_MAX):
        (directory := tmp_path / f"{nth}").mkdir()
        scenario = Scenario(directory)
        await scenario.set_up()
        scenario.connection.faults = faults = Faults(nth, lasting=lasting)
        scenario.connection.after = after
        outcomes = scenario.writer.run_batch(scenario.changes())
        scenario.connection.close()
        saved = scenario.saved()
        assert [isinstance(outcome, WriteResult) for outcome in outcomes] == [*saved.values()]
        assert all(isinstance(outcome, WriteResult | RecordsUnavailable) for outcome in outcomes)
        if not lasting:
            assert all(saved.values())
        if not faults.struck:
            assert all(saved.values())
            assert nth > 10
            return
    pytest.fail("every run had a fault")


async def test_full_disk_saves_all_or_nothing(tmp_path: Path) -> None:
    """With room for one page more each time until all fit, no change is ever saved without its events and jobs."""
    seen = set()
    for pages in range(_STATEMENTS_MAX):
        (directory := tmp_path / f"{pages}").mkdir()
        scenario = Scenario(directory)
        await scenario.set_up()
        with closing(sqlite3.connect(scenario.path)) as connection:
            used = int(connection.execute("PRAGMA page_count").fetchone()[0])
        with scenario.connection.writing(durable=False):
            scenario.connection.execute(f"PRAGMA max_page_count={used + pages}", {})
        changes = scenario.changes()
        large = scenario.effects("large")
        event = an_event("large", an_upload("large", metadata_header="x" * 30_000))
        changes.append(scenario.change(None, an_upload("large"), Effects(events=(event,), jobs=large.jobs)))
        outcomes = scenario.writer.run_batch(changes)
        scenario.connection.close()
        assert [isinstance(outcome, WriteResult) for outcome in outcomes[:3]] == [*scenario.saved().values()]
        with closing(sqlite3.connect(scenario.path)) as connection:
            counts = connection.execute(
                "SELECT (SELECT count(*) FROM uploads WHERE id = 'large'),"
                " (SELECT count(*) FROM events WHERE id = 'large'),"
                " (SELECT count(*) FROM jobs WHERE upload_id = 'large')"
            ).fetchone()
        assert counts in ((0, 0, 0), (1, 1, 2))
        seen.add(counts)
        if isinstance(outcomes[3], WriteResult):
            break
    assert seen == {(0, 0, 0), (1, 1, 2)}
