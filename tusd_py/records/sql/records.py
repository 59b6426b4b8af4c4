"""Records in a database."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import Any

from tusd_py.contracts.direct import Decide, OnChanged, OnDone, OnFound
from tusd_py.contracts.records import RecordConflict, RecordExists, UploadPage
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol.listing import ListedUpload, PageKey, UploadFilter
from tusd_py.records.sql.audit_statements import AuditStatements
from tusd_py.records.sql.grant_rows import GrantStatements, grant_rows
from tusd_py.records.sql.group_commit import Callback, ResultCallback
from tusd_py.records.sql.job_statements import JobStatements
from tusd_py.records.sql.plain_insertion import PlainInsertion, is_plain
from tusd_py.records.sql.quota_rows import QuotaRows
from tusd_py.records.sql.quota_statements import QuotaStatements
from tusd_py.records.sql.rows import is_progress, is_state, progress_row, to_row
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.search import SearchStatements, rows_to_examine, search_query, select_page
from tusd_py.records.sql.statements import Statements
from tusd_py.records.sql.tables import to_microseconds
from tusd_py.records.sql.transactions import (
    FindByIds,
    PartUses,
    Query,
    RecordChange,
    SelectUploads,
    WriteResult,
    effect_rows,
)
from tusd_py.records.sql.transition import Transition


class SqlRecords:
    """Keeps ``Upload`` values in a database, which several processes may share; see ``SqlDatabase.open``."""

    def __init__(
        self,
        runner: TransactionRunner,
        statements: Statements,
        job_statements: JobStatements,
        quota: QuotaStatements,
        audit: AuditStatements,
        grants: GrantStatements,
        search: SearchStatements,
        *,
        in_one_step: bool,
    ) -> None:
        self._in_one_step = in_one_step
        self._search_sql = search
        self._effect_rows = partial(effect_rows, job_statements, add_audit_entry=audit.add)
        self._sql = statements
        self._quota_sql = quota
        self._grant_sql = grants
        self._write = runner.write
        self._begin_write = runner.begin_write
        self._read = runner.read
        self._begin_read = runner.begin_read
        self._close = runner.close

    async def insert(self, upload: Upload, effects: Effects = NO_EFFECTS, *, part_uses_max: int = 0) -> None:
        change = self._insertion(upload, effects)
        if upload.parts:
            change.parts = [
                {"final_id": upload.id, "position": position, "part_id": part_id}
                for position, part_id in enumerate(upload.parts)
            ]
        if upload.token:
            change.replaced = (self._sql.delete_ended, {"seen_id": upload.id, "seen_token": upload.token - 1})
        if part_uses_max and upload.parts:
            change.part_uses = PartUses(self._sql.count_part_uses, upload.parts, part_uses_max)
        await self._write(change)

    def _insertion(self, upload: Upload, effects: Effects, row: dict[str, object] | None = None) -> RecordChange:
        """The insertion of ``upload``. Without its ``row`` the writer makes that."""
        return RecordChange(
            self._sql.insert,
            row or {},
            RecordExists(f"upload {upload.id} is already recorded"),
            durable=upload.is_complete,
            add_part=self._sql.insert_part,
            effects=None if effects is NO_EFFECTS else self._effect_rows(upload, effects),
            quota=None if effects.quota is None else QuotaRows(self._quota_sql, effects.quota),
            grant=grant_rows(self._grant_sql, effects) if upload.grant else None,
            new=upload if row is None else None,
        )

    def begin_insert(self, upload: Upload, effects: Effects, on_done: OnDone) -> None:
        """See ``DirectRecords``."""
        assert not upload.parts and not upload.token, "only plain creations are direct"
        if is_plain(upload, effects):
            quota = None if effects.quota is None else QuotaRows(self._quota_sql, effects.quota)
            self._begin_write(PlainInsertion(upload, effects, quota, self._insertion), Callback(on_done))
        else:
            self._begin_write(self._insertion(upload, effects), Callback(on_done))

    async def find(self, upload_id: str, *, with_parts: bool = True) -> Upload | None:
        found: Upload | None = (await self._read(FindByIds((upload_id,), with_parts)))[0]
        return found

    def begin_find(self, upload_id: str, on_found: OnFound) -> None:
        """See ``DirectRecordChanges``."""

        def on_read(uploads: list[Any] | None, failure: Exception | None) -> None:
            on_found(None if uploads is None else uploads[0], failure)

        self._begin_read(FindByIds((upload_id,)), ResultCallback(on_read))

    async def find_all(self, upload_ids: Sequence[str], *, with_parts: bool = True) -> list[Upload | None]:
        return await self._read(FindByIds(tuple(upload_ids), with_parts)) if upload_ids else []

    async def update(self, before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> Upload:
        saved, change = self._update(before, after, effects)
        await self._write(change)
        return saved

    def begin_update(self, before: Upload, after: Upload, effects: Effects, on_done: OnDone) -> Upload:
        """See ``DirectRecordChanges``."""
        saved, change = self._update(before, after, effects)
        self._begin_write(change, Callback(on_done))
        return saved

    def begin_transition(self, upload_id: str, decide: Decide, on_changed: OnChanged, *, durable: bool) -> bool:
        """See ``DirectTransitions``. A server is asked for the rows of a whole batch at once: two steps are faster."""
        if not self._in_one_step:
            return False
        change = Transition(self._sql.find_one, upload_id, decide, self._update, durable=durable)

        def on_written(_: WriteResult | None, failure: Exception | None) -> None:
            failure = failure or change.refusal
            on_changed(None if failure is not None else change.saved, failure)

        self._begin_write(change, ResultCallback(on_written))
        return True

    def _update(self, before: Upload, after: Upload, effects: Effects) -> tuple[Upload, RecordChange]:
        assert before.id == after.id, "an update must not change the id"
        assert before.parts == after.parts, "an update must not change the parts of a final upload"
        saved = after.with_token(before.token + 1)
        if is_progress(before, after):
            statement, row = self._sql.update_progress, progress_row(saved, saved.token)
        else:
            statement = self._sql.update_state if is_state(before, after) else self._sql.update
            row = to_row(saved, saved.token)
        row |= {"seen_id": before.id, "seen_offset": before.offset, "seen_token": before.token}
        change = RecordChange(
            statement,
            row,
            RecordConflict(f"another request has changed the record of upload {before.id}"),
            durable=needs_fsync(before, after, effects),
            effects=None if effects is NO_EFFECTS else self._effect_rows(saved, effects),
            quota=None if effects.quota is None else QuotaRows(self._quota_sql, effects.quota),
            grant=grant_rows(self._grant_sql, effects) if after.grant else None,
        )
        return saved, change

    async def delete(self, upload: Upload) -> None:
        await self._write(RecordChange(self._sql.delete, {"seen_id": upload.id, "seen_token": upload.token}))

    async def search(self, wanted: UploadFilter, limit: int, after: PageKey | None = None) -> UploadPage:
        if not limit:
            return UploadPage(())
        examined = rows_to_examine(wanted, limit)
        rows: list[ListedUpload] = await self._read(search_query(self._search_sql, wanted, after, examined))
        ids, next_key = select_page(rows, wanted, limit, examined)
        found = await self.find_all(ids)
        return UploadPage([upload for upload in found if upload is not None], next_key)

    async def page(self, after_id: str, limit: int) -> list[Upload]:
        return await self._select(self._sql.page, after_id=after_id, limit=limit)

    async def due(self, now: datetime, limit: int) -> list[Upload]:
        return await self._select(self._sql.due, now=to_microseconds(now), limit=limit)

    async def needing_recovery(self, limit: int, after_id: str = "") -> list[Upload]:
        return await self._select(self._sql.needing_recovery, after_id=after_id, limit=limit)

    async def finals_waiting(self, part_id: str) -> list[Upload]:
        return await self._select(self._sql.finals_waiting, part_id=part_id)

    async def count_part_uses(self, part_ids: Collection[str]) -> Mapping[str, int]:
        ids: dict[str, object] = {"ids": json.dumps([*set(part_ids)])}
        return dict(await self._read(Query(self._sql.count_part_uses, ids, tuple)))

    async def find_empty(self, upload_ids: Collection[str]) -> set[str]:
        return set(await self._read(Query(self._sql.find_empty, {"ids": json.dumps([*upload_ids])}, itemgetter(0))))

    async def probe(self) -> None:
        await self.find("")
        # Takes the write lock, which a database that is read-only for this user refuses; deletes nothing.
        await self._write(RecordChange(self._sql.delete, {"seen_id": "", "seen_token": 0}))

    async def close(self) -> None:
        """Finish the calls made before, and close the database for the job queue and the endpoint states as well."""
        await self._close()

    async def _select(self, statement: str, **values: object) -> list[Upload]:
        return await self._read(SelectUploads(statement, values))


def needs_fsync(before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> bool:
    """Whether the change must survive a power failure: completion, every end, and events of a complete upload.

    So must what the caller says. ``PROCESSING`` to ``READY``, and what workers do, need not: if it is lost, the restart
    finds the upload as it was before and repeats the work. That spares a small upload the second of two fsyncs. But an
    event that was delivered and then lost would be delivered again with another id, which no receiver could recognise
    as a repetition.
    """
    completes = after.is_complete and not before.is_complete
    ends = after.status is not before.status and after.status is not Status.READY
    return completes or ends or effects.durable or (after.is_complete and bool(effects.events))
