"""Records in a database. What is asked is put into statements here; two threads run them, by the batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal, Self

from tusd_py.contracts.records import RecordConflict, RecordExists
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Status, Upload
from tusd_py.records.sql.group_commit import Grouping
from tusd_py.records.sql.job_statements import JobStatements, compile_job_statements
from tusd_py.records.sql.jobs import SqlJobQueue
from tusd_py.records.sql.rows import to_row
from tusd_py.records.sql.schema import bring_up_to_date
from tusd_py.records.sql.sqlite import DatabaseConnection, open_engine
from tusd_py.records.sql.statements import Statements, compile_statements
from tusd_py.records.sql.tables import to_microseconds
from tusd_py.records.sql.transactions import (
    FindByIds,
    Listing,
    Query,
    Reader,
    RecordChange,
    WriteOp,
    Writer,
    WriteResult,
    following,
)

#: What a commit survives: "completion" is the loss of power from an upload's completion on, and the death of the
#: process always; "power" is the loss of power always, at one fsync for each group of commits.
Durability = Literal["completion", "power"]

#: Calls that may wait at once for the writer, and for the reader: half a second's work. Beyond, they are refused.
_WAITING_MAX = 10_000
#: How long close() waits for what was asked.
_CLOSE_SECONDS = 30.0


_Opened = tuple[Statements, JobStatements, DatabaseConnection, DatabaseConnection]


class SqlRecords(SqlJobQueue):
    """Keeps ``Upload`` values in a SQLite database, which several processes of one host may share, and their outbox.

    Belongs to the event loop in which it was opened. Changes go through one thread and one connection, where all
    that arrive together share a commit; reads through another, which no writer makes wait.
    """

    def __init__(self, opened: _Opened, durability: Durability, on_work: Callable[[], None] | None) -> None:
        self._sql, outbox_sql, changing, asking = opened
        changes: Grouping[WriteOp, WriteResult] = Grouping(
            Writer(changing, always_durable=durability == "power").answer,
            name="records-writer",
            on_end=changing.close,
            waiting_max=_WAITING_MAX,
            on_answers=None if on_work is None else _telling(on_work),
        )
        questions: Grouping[FindByIds | Listing | Query, list[Any]] = Grouping(
            Reader(asking, self._sql).answer, name="records-reader", on_end=asking.close, waiting_max=_WAITING_MAX
        )
        super().__init__(outbox_sql, changes, questions)

    @classmethod
    async def open(
        cls, url: str, *, durability: Durability = "completion", on_work: Callable[[], None] | None = None
    ) -> Self:
        """Records in the database at ``url`` (``sqlite:///PATH``), whose schema is brought up to date first.

        ``on_work`` is called in the loop, once for each commit that made or revived jobs; it must neither block nor
        raise. Raises ``RecordsUnavailable`` if the database cannot be opened, or if a newer version of the program has
        written it.
        """
        return cls(await asyncio.to_thread(_open, url), durability, on_work)

    async def insert(self, upload: Upload, effects: Effects = NO_EFFECTS) -> None:
        parts = [
            {"final_id": upload.id, "position": position, "part_id": part_id}
            for position, part_id in enumerate(upload.parts)
        ]
        refusal = RecordExists(f"upload {upload.id} is already recorded")
        row = to_row(upload, upload.token)
        change = RecordChange(
            self._sql.insert,
            row,
            refusal,
            durable=upload.is_complete,
            add_part=self._sql.insert_part,
            parts=parts,
            following=None if effects is NO_EFFECTS else following(self._job_sql, upload, effects),
        )
        await self._writer.ask(change)

    async def find(self, upload_id: str) -> Upload | None:
        found: Upload | None = (await self._reader.ask(FindByIds((upload_id,))))[0]
        return found

    async def find_all(self, upload_ids: Sequence[str]) -> list[Upload | None]:
        return await self._reader.ask(FindByIds(tuple(upload_ids))) if upload_ids else []

    async def update(self, before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> Upload:
        assert before.id == after.id, "a record changes, it does not move"
        assert before.parts == after.parts, "a final upload keeps its parts"
        saved = after.with_token(before.token + 1)
        row = to_row(saved, saved.token)
        row |= {"seen_id": before.id, "seen_offset": before.offset, "seen_token": before.token}
        refusal = RecordConflict(f"the record of upload {before.id} has moved on")
        change = RecordChange(
            self._sql.update,
            row,
            refusal,
            durable=is_step(before, after, effects),
            following=None if effects is NO_EFFECTS else following(self._job_sql, saved, effects),
        )
        await self._writer.ask(change)
        return saved

    async def delete(self, upload: Upload) -> None:
        await self._writer.ask(RecordChange(self._sql.delete, {"seen_id": upload.id, "seen_token": upload.token}))

    async def due(self, now: datetime, limit: int) -> list[Upload]:
        return await self._list(self._sql.due, now=to_microseconds(now), limit=limit)

    async def needing_recovery(self, limit: int, after_id: str = "") -> list[Upload]:
        return await self._list(self._sql.needing_recovery, after_id=after_id, limit=limit)

    async def finals_waiting(self, part_id: str) -> list[Upload]:
        return await self._list(self._sql.finals_waiting, part_id=part_id)

    async def probe(self) -> None:
        await self.find("")

    async def close(self) -> None:
        await self._writer.close(_CLOSE_SECONDS)
        await self._reader.close(_CLOSE_SECONDS)

    async def _list(self, statement: str, **values: object) -> list[Upload]:
        return await self._reader.ask(Listing(statement, values))


def _open(url: str) -> _Opened:
    bring_up_to_date(url)
    engine = open_engine(url)
    statements = compile_statements(engine.dialect), compile_job_statements(engine.dialect)
    return *statements, DatabaseConnection(engine), DatabaseConnection(engine)


def _telling(on_work: Callable[[], None]) -> Callable[[Sequence[WriteResult | Exception]], None]:
    def tell(answers: Sequence[WriteResult | Exception]) -> None:
        if any(isinstance(answer, WriteResult) and answer.has_work for answer in answers):
            on_work()

    return tell


def is_step(before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> bool:
    """Whether the change must survive the loss of power: completion, every end, and what is told of a complete upload.

    ``PROCESSING`` to ``READY``, and what workers do, need not: if it is lost, the restart finds the upload as it was
    before and does the same again. That spares a small upload the second of two fsyncs. But once told and then lost, it
    would be told again as another event, which no receiver could know for a repetition.
    """
    completes = after.is_complete and not before.is_complete
    ends = after.status is not before.status and after.status is not Status.READY
    return completes or ends or (after.is_complete and bool(effects.events))
