"""Runs the writes and reads of one event loop in two threads, with one connection each, many in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.group_commit import GroupCommit
from tusd_py.records.sql.statements import Statements
from tusd_py.records.sql.transactions import Reader, ReadOp, WriteOp, Writer, WriteResult

#: What a commit survives. "completion": a power failure from an upload's completion on, and always the death of the
#: process. "power": always a power failure, at one fsync for each group of commits.
Durability = Literal["completion", "power"]

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
        write_connection: DatabaseConnection,
        read_connection: DatabaseConnection,
        statements: Statements,
        *,
        durability: Durability = "completion",
        on_work: Callable[[], None] | None = None,
    ) -> None:
        self._writes: GroupCommit[WriteOp, WriteResult] = GroupCommit(
            Writer(write_connection, always_durable=durability == "power").run_batch,
            name="records-writer",
            on_end=write_connection.close,
            waiting_max=_WAITING_MAX,
            on_batch=None if on_work is None else _notifier(on_work),
        )
        self._reads: GroupCommit[ReadOp, list[Any]] = GroupCommit(
            Reader(read_connection, statements).run_batch,
            name="records-reader",
            on_end=read_connection.close,
            waiting_max=_WAITING_MAX,
        )
        # The methods themselves: a wrapper would cost every call a coroutine more.
        self.write = self._writes.submit
        self.read = self._reads.submit

    async def close(self) -> None:
        """Finish the calls made before, and end both threads. Raises ``RecordsUnavailable`` if one of them hangs."""
        await self._writes.close(_CLOSE_SECONDS)
        await self._reads.close(_CLOSE_SECONDS)


def _notifier(on_work: Callable[[], None]) -> Callable[[Sequence[WriteResult | Exception]], None]:
    def notify(results: Sequence[WriteResult | Exception]) -> None:
        if any(isinstance(result, WriteResult) and result.has_work for result in results):
            on_work()

    return notify
