"""The database fails at the first, second, third ... statement: a record, its events and its jobs stay together."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from tests.contracts.outbox import LATER, a_job, an_event
from tests.contracts.records import NOW, an_upload
from tests.faults.failing import Faults
from tests.support.database import empty_database
from tusd_py.contracts.records import RecordConflict, RecordsUnavailable
from tusd_py.model.jobs import Effects
from tusd_py.model.upload import Upload
from tusd_py.records.sql.job_statements import compile_job_statements
from tusd_py.records.sql.records import SqlRecords
from tusd_py.records.sql.rows import to_row
from tusd_py.records.sql.sqlite import DatabaseConnection, open_engine
from tusd_py.records.sql.statements import compile_statements
from tusd_py.records.sql.transactions import RecordChange, Writer, WriteResult, following

pytestmark = pytest.mark.anyio

T = TypeVar("T")

_STATEMENTS_MAX = 60


class FailingConnection(DatabaseConnection):
    """The shipped connection, with statements that fail by count before they run, or after, as with a kill."""

    faults = Faults()
    after = False

    def execute(self, statement: str, values: Mapping[str, object]) -> sqlite3.Cursor:
        return self._failing(lambda: super(FailingConnection, self).execute(statement, values))

    def execute_many(self, statement: str, rows: Sequence[Mapping[str, object]]) -> int:
        return self._failing(lambda: super(FailingConnection, self).execute_many(statement, rows))

    def _failing(self, run: Callable[[], T]) -> T:
        made = run() if self.after else None
        if self.faults.is_due():
            raise sqlite3.OperationalError("a fault of the test")
        return run() if made is None else made


class World:
    """A database with a running job of one upload, and three more changes to be made together."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "records.sqlite3"
        self.path.write_bytes(empty_database())
        engine = open_engine(f"sqlite:///{self.path}")
        self.connection = FailingConnection(engine)
        self.sql, self.outbox_sql = compile_statements(engine.dialect), compile_job_statements(engine.dialect)
        self.writer = Writer(self.connection, always_durable=False)

    async def begin(self) -> None:
        records = await SqlRecords.open(f"sqlite:///{self.path}")
        self.begun = an_upload("begun", length=None)
        await records.insert(self.begun, Effects(jobs=(a_job("running", lane="x"), a_job("behind", lane="x"))))
        (self.job,) = await records.claim(NOW, LATER, 9)
        await records.close()

    def changes(self) -> list[RecordChange]:
        adding = [self.change(None, an_upload(name, length=None), self.effects(name)) for name in ("a", "b")]
        after = self.begun.advance(5, NOW + timedelta(seconds=1)).with_token(1)
        effect = self.change(self.begun, after, self.effects("begun", ends=True))
        return [adding[0], effect, adding[1]]

    def effects(self, name: str, *, ends: bool = False) -> Effects:
        events = tuple(an_event(f"{name} {number}", an_upload(name)) for number in range(2))
        jobs = tuple(a_job(f"{event.id} job", event_id=event.id, upload_id=name) for event in events)
        return Effects(events=events, jobs=jobs, completed_job=self.job if ends else None)

    def change(self, before: Upload | None, after: Upload, effects: Effects) -> RecordChange:
        row = to_row(after, after.token)
        if before is not None:
            row |= {"seen_id": before.id, "seen_offset": before.offset, "seen_token": before.token}
        statement = self.sql.insert if before is None else self.sql.update
        return RecordChange(
            statement, row, RecordConflict(after.id), following=following(self.outbox_sql, after, effects)
        )

    def made(self) -> dict[str, bool]:
        """The changes that are saved, each checked to have all of its effects or none."""
        with closing(sqlite3.connect(self.path)) as beneath:

            def count(question: str, *facts: str) -> int:
                number: int = beneath.execute(f"SELECT count(*) FROM {question}", facts).fetchone()[0]
                return number

            made = {}
            for name in ("a", "begun", "b"):
                offset = "offset = 5" if name == "begun" else "offset = 0"
                is_there = count(f"uploads WHERE id = ? AND {offset}", name)
                assert count("events WHERE upload_id = ?", name) == 2 * is_there
                assert count("jobs WHERE upload_id = ? AND event_id <> ''", name) == 2 * is_there
                made[name] = bool(is_there)
            states = beneath.execute(
                "SELECT key, state, is_head FROM jobs WHERE sequence_key = 'x' ORDER BY id"
            ).fetchall()
            if made["begun"]:
                assert states == [("running", "done", 0), ("behind", "waiting", 1)]
            else:
                assert states == [("running", "running", 1), ("behind", "waiting", 0)]
            assert beneath.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return made


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("lasting", [False, True])
async def test_change_atomic_after_any_fault(tmp_path: Path, lasting: bool, after: bool) -> None:
    """Whichever statement of a batch fails, each change is saved with its events and jobs or not at all.

    The reported result is what is saved, and a temporary fault costs no change.
    """
    for nth in range(1, _STATEMENTS_MAX):
        (directory := tmp_path / f"{nth}").mkdir()
        world = World(directory)
        await world.begin()
        world.connection.faults = faults = Faults(nth, lasting=lasting)
        world.connection.after = after
        outcomes = world.writer.answer(world.changes())
        world.connection.close()
        made = world.made()
        assert [isinstance(outcome, WriteResult) for outcome in outcomes] == [*made.values()]
        assert all(isinstance(outcome, WriteResult | RecordsUnavailable) for outcome in outcomes)
        if not lasting:
            assert all(made.values())
        if not faults.struck:
            assert all(made.values())
            assert nth > 10
            return
    pytest.fail("no run was without a fault")


async def test_change_atomic_on_full_disk(tmp_path: Path) -> None:
    """However little space is left, no change is saved without its effects."""
    seen = set()
    for pages in range(_STATEMENTS_MAX):
        (directory := tmp_path / f"{pages}").mkdir()
        world = World(directory)
        await world.begin()
        with closing(sqlite3.connect(world.path)) as beneath:
            used = int(beneath.execute("PRAGMA page_count").fetchone()[0])
        with world.connection.writing(durable=False):
            world.connection.execute(f"PRAGMA max_page_count={used + pages}", {})
        changes = world.changes()
        large = world.effects("large")
        event = an_event("large", an_upload("large", metadata_header="x" * 30_000))
        changes.append(world.change(None, an_upload("large"), Effects(events=(event,), jobs=large.jobs)))
        outcomes = world.writer.answer(changes)
        world.connection.close()
        assert [isinstance(outcome, WriteResult) for outcome in outcomes[:3]] == [*world.made().values()]
        with closing(sqlite3.connect(world.path)) as beneath:
            counts = beneath.execute(
                "SELECT (SELECT count(*) FROM uploads WHERE id = 'large'),"
                " (SELECT count(*) FROM events WHERE id = 'large'),"
                " (SELECT count(*) FROM jobs WHERE upload_id = 'large')"
            ).fetchone()
        assert counts in ((0, 0, 0), (1, 1, 2))
        seen.add(counts)
        if isinstance(outcomes[3], WriteResult):
            break
    assert seen == {(0, 0, 0), (1, 1, 2)}
