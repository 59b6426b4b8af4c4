"""Runs the writes and reads of one event loop in two threads, with one connection each, many in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tusd_py.model.audit import AuditEntry
from tusd_py.records.sql.audited import audited
from tusd_py.records.sql.group_commit import GroupCommit
from tusd_py.records.sql.transactions import Reader, ReadOp, WriteOp, Writer, WriteResult

#: Calls that may wait at once for the writer, and for the reader: half a second of work. More are refused.
_WAITING_MAX = 10_000
#: How long close() waits for the calls that were made before it.
_CLOSE_SECONDS = 30.0


class TransactionRunner:
    """The writer and the reader of a database, which records, the job queue and endpoint states share.

    Belongs to the event loop in which it was made. All writes that arrive together share a commit; reads use another
    connection, which no write delays. ``on_work`` is called on the event loop, once for each commit that added jobs or
    made them due; it must neither block nor raise.
    """

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        *,
        on_work: Callable[[], None] | None = None,
        add_audit_entry: str = "",
    ) -> None:
        self._add_audit_entry = add_audit_entry
        self._writes: GroupCommit[WriteOp, WriteResult] = GroupCommit(
            writer.run_batch,
            name="records-writer",
            on_end=writer.close,
            waiting_max=_WAITING_MAX,
            on_batch=None if on_work is None else _notifier(on_work),
        )
        self._reads: GroupCommit[ReadOp, list[Any]] = GroupCommit(
            reader.run_batch,
            name="records-reader",
            on_end=reader.close,
            waiting_max=_WAITING_MAX,
        )
        # The methods themselves: a wrapper would cost every call a coroutine more.
        self.write = self._writes.submit
        self.begin_write = self._writes.begin
        self.read = self._reads.submit
        self.begin_read = self._reads.begin

    async def write_audited(self, op: WriteOp, entries: Sequence[AuditEntry]) -> WriteResult:
        """Like ``write``, with entries of the audit log that are written if ``op`` changes anything."""
        return await self.write(audited(op, self._add_audit_entry, entries))

    async def close(self) -> None:
        """Finish the calls made before, and end both threads. Raises ``RecordsUnavailable`` if one of them hangs."""
        await self._writes.close(_CLOSE_SECONDS)
        await self._reads.close(_CLOSE_SECONDS)


def _notifier(on_work: Callable[[], None]) -> Callable[[Sequence[WriteResult | Exception]], None]:
    def notify(results: Sequence[WriteResult | Exception]) -> None:
        if any(isinstance(result, WriteResult) and result.has_work for result in results):
            on_work()

    return notify
