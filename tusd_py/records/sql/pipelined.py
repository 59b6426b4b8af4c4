"""Batches of writes and reads on a server: few round trips, and retries where the server undoes or forgets a batch.

A batch of changes of records is one round trip, or two if they have effects; nothing else waits between its statements.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from tusd_py.contracts.records import RecordsError
from tusd_py.records.sql.clock import DatabaseClock
from tusd_py.records.sql.driver import PipelinedConnection, ResultCursor
from tusd_py.records.sql.jobs import AddJobs, UpdateLeased
from tusd_py.records.sql.listen import JOBS_CHANNEL
from tusd_py.records.sql.plain_insertion import PlainInsertion
from tusd_py.records.sql.quota_rows import QuotaBatch, quota_key
from tusd_py.records.sql.rows import from_row, spend_as_if_found
from tusd_py.records.sql.statements import Statements
from tusd_py.records.sql.tables import RecordsTable
from tusd_py.records.sql.transactions import (
    FindByIds,
    Query,
    Reader,
    ReadOp,
    RecordChange,
    WriteOp,
    Writer,
    WriteResult,
    has_finals,
    isolated,
    json_array,
)

#: How often a transaction runs that the server undoes for the sake of another, or forgets because it restarts.
_ATTEMPTS_MAX = 8
_RETRY_SECONDS = 0.005

_NOTIFY = f"SELECT pg_notify('{JOBS_CHANNEL}', '')"

Result = TypeVar("Result")


def open_pipelined(
    writing: PipelinedConnection, reading: PipelinedConnection, statements: Statements
) -> tuple[PipelinedWriter, PipelinedReader, DatabaseClock]:
    """A writer and a reader, and the clock of the database, read for the first time. Raises ``RecordsUnavailable``."""
    clock = DatabaseClock()
    try:
        with reading.reading_once():
            clock.read(reading)
    except reading.statement_errors as error:
        raise reading.to_fault(error) from error
    return PipelinedWriter(writing, statements), PipelinedReader(reading, statements, clock), clock


class PipelinedWriter(Writer):
    """Makes changes on a server, to which other processes write at the same time."""

    def __init__(self, connection: PipelinedConnection, statements: Statements) -> None:
        super().__init__(connection, statements, always_durable=True)
        self._pipelined = connection
        self._find_states = statements.find_states
        self._strict = {statements.insert: statements.insert_strictly}

    def run_batch(self, ops: Sequence[WriteOp]) -> Sequence[WriteResult | Exception]:
        # The statements of a batch are sent together here whatever they are.
        return super().run_batch([op.expand() if isinstance(op, PlainInsertion) else op for op in ops])

    def _transact(self, ops: Sequence[WriteOp], apart: bool) -> list[WriteResult | Exception]:
        is_doubtful = False

        def attempt() -> list[WriteResult | Exception]:
            nonlocal is_doubtful
            try:
                with self._pipelined.writing(durable=True):
                    done = self._find_done(ops) if is_doubtful else frozenset()
                    finish = self._apply_all(ops, apart, done)
            except self._pipelined.statement_errors:
                is_doubtful = is_doubtful or self._pipelined.is_committing
                raise
            return finish()

        return retrying(self._pipelined, attempt)

    def _apply_all(
        self, ops: Sequence[WriteOp], apart: bool, done: frozenset[int]
    ) -> Callable[[], list[WriteResult | Exception]]:
        """Make the changes but those at the places in ``done``; return what gives the results, after the commit."""
        connection = self._pipelined
        sequences = {key for op in ops for key in _sequence_keys(op)}
        batch = self._open_quotas(ops)
        subjects = () if batch is None else map(quota_key, batch.locked)
        connection.lock_keys(sorted({*sequences, *subjects}))
        results: list[WriteResult | Exception | None] = [
            WriteResult() if place in done else None for place in range(len(ops))
        ]
        todo = [(place, op) for place, op in enumerate(ops) if place not in done]
        if apart:
            for place, op in todo:
                results[place] = isolated(connection, lambda op=op: op.apply(connection))  # type: ignore[misc]  # op is bound now
            cursors: dict[int, tuple[RecordChange, ResultCursor]] = {}
        else:
            # The first statement of each goes at once; those that need a look at a result first come after them.
            charged = batch is not None and _charge_together(connection, batch, [op for _, op in todo])
            cursors = {
                place: (op, connection.execute(self._first_statement(op), op.values))
                for place, op in todo
                if isinstance(op, RecordChange) and _is_direct(op) and (charged or op.quota is None)
            }
            for place, op in todo:
                if place not in cursors:
                    results[place] = _apply(connection, op, batch)
            for place, (op, cursor) in cursors.items():
                if op.parts or op.effects is not None:
                    results[place] = self._follow_up(op, cursor)
            if batch is not None:
                batch.flush(connection)
        if any(isinstance(result, WriteResult) and result.has_work for result in results):
            connection.execute(_NOTIFY, {})
        return lambda: [_outcome(*cursors[place]) if result is None else result for place, result in enumerate(results)]

    def _first_statement(self, op: RecordChange) -> str:
        # If a row exists that is charged already, they run again, apart. To look whether it does is a round trip more.
        return op.statement if op.quota is None else self._strict.get(op.statement, op.statement)

    def _open_quotas(self, ops: Sequence[WriteOp]) -> QuotaBatch | None:
        """The ledger for a transaction, with the subjects of its charges, which have to be locked; ``None``: no charge.

        They are locked together and in one order, so that two transactions never wait for each other.
        """
        quotas = [op.quota for op in ops if isinstance(op, RecordChange) and op.quota is not None]
        if not quotas:
            return None
        subjects = {quota.charge.subject for quota in quotas if quota.charge.is_new}
        changed = {quota.charge.upload_id for quota in quotas if not quota.charge.is_new}
        if changed:
            subjects.update(row[0] for row in self._pipelined.execute(quotas[0].sql.find_subjects, json_array(changed)))
        return QuotaBatch(quotas[0].sql, subjects)

    def _follow_up(self, op: RecordChange, cursor: ResultCursor) -> WriteResult | RecordsError:
        """Write the parts and the effects of a changed record, without waiting for their results."""
        outcome = _outcome(op, cursor)
        if isinstance(outcome, RecordsError) or cursor.rowcount == 0:
            return outcome
        if op.parts:
            self._pipelined.queue_many(op.add_part, op.parts)
        effects = op.effects
        if effects is None:
            return outcome
        if effects.events:
            self._pipelined.append_in_order(effects.sql.add_event, effects.events)
        if effects.audit:
            self._pipelined.append_in_order(effects.add_audit_entry, effects.audit)
        if not effects.jobs.rows:
            return outcome
        self._pipelined.queue_many(effects.sql.add_job, [row for row, _ in effects.jobs.rows])
        return WriteResult(has_work=True)

    def _find_done(self, ops: Sequence[WriteOp]) -> frozenset[int]:
        """The places of the changes that are in the database although the connection broke before it said so.

        The token and the time of a change identify it. Without this check, the client would get the error for an upload
        that another request has changed.
        """
        changes = {
            place: op.values for place, op in enumerate(ops) if isinstance(op, RecordChange) and "token" in op.values
        }
        ids = {str(values["id"]) for values in changes.values()}
        rows = self._pipelined.execute(self._find_states, json_array(ids)).fetchall() if ids else []
        states = {row[0]: tuple(row[1:]) for row in rows}
        return frozenset(place for place, values in changes.items() if states.get(values["id"]) == _state(values))


class PipelinedReader(Reader):
    """Runs reads on a server: one statement is one round trip."""

    def __init__(self, connection: PipelinedConnection, statements: Statements, clock: DatabaseClock) -> None:
        super().__init__(connection, statements)
        self._pipelined = connection
        self._clock = clock

    def _transact(self, ops: Sequence[ReadOp], apart: bool) -> list[list[Any] | Exception]:
        def attempt() -> list[list[Any] | Exception]:
            with self._pipelined.reading_once():
                if self._clock.is_old:
                    self._clock.read(self._pipelined)
                if not apart and (found := self._run_one_statement(ops)) is not None:
                    return found
            return super(PipelinedReader, self)._transact(ops, apart)

        return retrying(self._pipelined, attempt)

    def _run_one_statement(self, ops: Sequence[ReadOp]) -> list[list[Any] | Exception] | None:
        """The results, if they are those of one statement."""
        first = ops[0]
        if len(ops) == 1 and isinstance(first, Query):
            return [[first.read(row) for row in self._pipelined.execute(first.statement, first.values)]]
        finds = [op for op in ops if isinstance(op, FindByIds)]
        if len(finds) < len(ops):
            return None
        ids = {upload_id for op in finds for upload_id in op.ids}
        rows = self._pipelined.execute(self._statements.find, json_array(ids)).fetchall()
        if any(op.with_parts for op in finds) and has_finals(rows):
            return None  # their parts are a second statement, which must see the same snapshot
        found = {upload.id: upload for upload in map(from_row, rows)}
        if len(found) < len(ids):
            spend_as_if_found(len(ids) - len(found))
        return [[found.get(upload_id) for upload_id in op.ids] for op in finds]


def retrying(connection: PipelinedConnection, attempt: Callable[[], Result]) -> Result:
    """The result of ``attempt``, which runs again after a deadlock, a serialisation failure, or a lost connection.

    A connection is opened again by the attempt itself, which raises ``RecordsUnavailable`` if that fails.
    """
    for count in range(1, _ATTEMPTS_MAX + 1):
        try:
            return attempt()
        except connection.retry_errors:
            if count == _ATTEMPTS_MAX:
                raise
            time.sleep(_RETRY_SECONDS * 2 ** min(count, 5) * random.random())
        except connection.statement_errors:
            if count == _ATTEMPTS_MAX or not connection.is_lost:
                raise
            connection.close()
    raise AssertionError("the last attempt returns or raises")


def _charge_together(connection: PipelinedConnection, batch: QuotaBatch, ops: Sequence[WriteOp]) -> bool:
    """Charge those of ``ops`` that are ``_is_direct``; return whether there are any and their charges fit."""
    if len(ops) == 1:
        return False  # it could not run again, apart
    direct = [op.quota for op in ops if isinstance(op, RecordChange) and op.quota is not None and _is_direct(op)]
    return bool(direct) and batch.charge_together(connection, direct)


def _apply(connection: PipelinedConnection, op: WriteOp, batch: QuotaBatch | None) -> WriteResult | RecordsError:
    if isinstance(op, RecordChange):
        return op.apply(connection, batch)
    if batch is not None:
        batch.flush(connection)  # it may look at the counters
    return op.apply(connection)


def _is_direct(op: RecordChange) -> bool:
    """Whether the first statement needs no look at the database before, and the rest only its row count.

    The charges of new uploads without parts need one look for all of them.
    """
    effects = op.effects
    has_simple_effects = effects is None or (effects.completed_job is None and not effects.jobs.meets_progress)
    has_simple_charge = op.quota is None or (op.quota.charge.is_new and not op.quota.charge.parts)
    needs_look = (op.part_uses, op.grant, op.replaced)
    return has_simple_effects and has_simple_charge and all(part is None for part in needs_look)


def _outcome(op: RecordChange, cursor: ResultCursor) -> WriteResult | RecordsError:
    return op.refusal if cursor.rowcount == 0 and op.refusal is not None else WriteResult()


def _sequence_keys(op: WriteOp) -> Iterable[str]:
    """The sequences whose jobs the change adds or ends.

    Not those of a new upload: no other writer knows it. They are locked in one order, so that two transactions never
    wait for each other.
    """
    if isinstance(op, RecordChange) and op.effects is not None and ("seen_token" in op.values or op.replaced):
        if op.effects.completed_job is not None:
            yield op.effects.completed_job.sequence_key
        rows: Iterable[Mapping[str, object]] = (row for row, _ in op.effects.jobs.rows)
    elif isinstance(op, AddJobs):
        rows = (row for row, _ in op.rows.rows)
    elif isinstance(op, UpdateLeased) and op.ends:
        yield op.job.sequence_key
        return
    else:
        return
    yield from (str(row["sequence_key"]) for row in rows)


_STATE = ("token", "offset", "updated_at", "status")
assert all(name in RecordsTable.metadata.tables["uploads"].c for name in _STATE)


def _state(values: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(values[name] for name in _STATE)
