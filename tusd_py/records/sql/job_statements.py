"""The statements of events and jobs, built with SQLAlchemy Core and compiled once. Nothing here runs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Dialect,
    Select,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    literal_column,
    not_,
    null,
    select,
    text,
    true,
    update,
)

from tusd_py.model.events import EventType
from tusd_py.model.jobs import JobState
from tusd_py.model.upload import Status
from tusd_py.records.sql.dialect import compile_text, insert_or_ignore, json_elements, with_limit
from tusd_py.records.sql.job_rows import EVENT_COLUMNS, JOB_COLUMNS
from tusd_py.records.sql.tables import RecordsTable

_uploads = RecordsTable.metadata.tables["uploads"]
_events = RecordsTable.metadata.tables["events"]
_jobs = RecordsTable.metadata.tables["jobs"]
_job = select(*(_jobs.c[name] for name in JOB_COLUMNS))
_event = select(*(_events.c[name] for name in EVENT_COLUMNS))

# The text of the partial indexes' own conditions: an index applies only to a statement that contains it.
_IS_HEAD = text("is_head")
_IS_DONE = text("state = 'done'")
_IS_NOT_DONE = text("state <> 'done'")

_ITS_ID = _jobs.c.id == bindparam("job_id")


@dataclass(frozen=True, slots=True)
class JobStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    add_event: str  # a row of job_rows.event_row
    add_job: str  # a row of job_rows.job_row
    lanes: str  # nothing: those that have a job at the head of its sequence
    ready: str  # of_lane, now, limit
    lease: str  # job_id, seen_state, seen_token, seen_event_id, now, until
    has_lease: str  # job_id, seen_token; locks the row until the transaction ends
    start: str  # job_id, seen_token
    clear_starts: str  # job_id, seen_token
    release: str  # job_id, seen_token, at, why, undone: the attempts that do not count, 0 or 1
    renew: str  # job_id, seen_token, at
    complete: str  # job_id, seen_token, at
    retry: str  # job_id, seen_token, at, why
    retry_alone: str  # job_id, seen_token, at, why: the job leaves its sequence
    fail: str  # job_id, seen_token, at, why
    promote: str  # its_sequence_key: marks the earliest job that has not ended as the head,
    demote: str  # its_sequence_key: and no other
    replace_progress: str  # its_sequence_key, new_event_id, new_key: of a last job that waits with a post-receive
    hurry_progress: str  # its_sequence_key: moves waiting post-receives to the lane of their subscription
    requeue: str  # job_id, at
    limit_waits: str  # of_state, attempt_min, attempt_max, latest
    delete_job: str  # job_id
    next_due: str  # nothing
    find_job: str  # job_id
    find_unended: str  # its_sequence_key, limit
    list_jobs: str  # before_id, limit
    list_jobs_in_state: str  # in_state, but not done; before_id, limit
    list_jobs_done: str  # in_state: done; before_id, limit
    list_jobs_of_upload: str  # of_upload, states: a JSON array, before_id, limit
    find_event: str  # event_id
    list_events: str  # after, limit
    list_events_of_upload: str  # of_upload, after, limit
    newest_events: str  # after, limit
    newest_events_of_upload: str  # of_upload, after, limit
    prune_jobs: str  # before, limit
    prune_events: str  # before, limit
    find_forgotten: str  # before, limit: the ids of dead jobs whose upload has ended or is unknown
    delete_dead: str  # job_id


def compile_job_statements(dialect: Dialect) -> JobStatements:
    """Every statement, for ``dialect``."""
    texts = {
        name: compile_text(dialect, statement)
        for name, statement in (_claim_statements() | _list_statements(dialect)).items()
    }
    changes = _lease_statements() | _sequence_statements() | _pruning()
    texts |= {name: compile_text(dialect, statement) for name, statement in changes.items()}
    job_columns = [column.name for column in _jobs.columns if column.name not in ("id", "ended_at", "is_head")]
    add_job = insert_or_ignore(dialect, _jobs, "key", is_head=not_(_has_unended(_jobs.alias("earlier"))))
    event_columns = [column.name for column in _events.columns if column.name != "seq"]
    return JobStatements(
        add_event=compile_text(dialect, insert(_events), event_columns),
        add_job=compile_text(dialect, add_job, job_columns),
        **texts,
    )


def _has_unended(earlier: Any) -> ColumnElement[bool]:
    return exists().where(earlier.c.sequence_key == bindparam("its_sequence_key"), earlier.c.ended_at.is_(None))


def _claim_statements() -> dict[str, Any]:
    # A loose index scan: one step for each lane, however many jobs it has.
    lanes = select(func.min(_jobs.c.lane).label("lane")).where(_IS_HEAD).cte("lanes", recursive=True)
    next_one = select(func.min(_jobs.c.lane)).where(_IS_HEAD, _jobs.c.lane > lanes.c.lane)
    lanes = lanes.union_all(select(next_one.correlate(lanes).scalar_subquery()).where(lanes.c.lane.is_not(None)))
    earliest = select(func.min(_jobs.c.next_attempt_at)).where(_IS_HEAD, _jobs.c.lane == lanes.c.lane)
    ready = _job.where(_IS_HEAD, _jobs.c.lane == bindparam("of_lane"), _jobs.c.next_attempt_at <= bindparam("now"))
    return {
        "lanes": select(lanes.c.lane).where(lanes.c.lane.is_not(None)),
        # Several workers claim at once where writers run at once: each takes rows that no other has locked.
        "ready": with_limit(ready.order_by(_jobs.c.next_attempt_at, _jobs.c.id)).with_for_update(skip_locked=True),
        "next_due": select(func.min(earliest.correlate(lanes).scalar_subquery())).select_from(lanes),
    }


_RUNNING = _jobs.c.state == literal_column(f"'{JobState.RUNNING.value}'")
_LEASED = (_ITS_ID, _jobs.c.token == bindparam("seen_token"), _RUNNING)
_AT: BindParameter[int] = bindparam("at")
_ZERO: ColumnElement[int] = literal_column("0")
_WAITING = {"state": literal_column(f"'{JobState.WAITING.value}'"), "next_attempt_at": _AT}


def _lease_statements() -> dict[str, Any]:
    change = update(_jobs).where(*_LEASED)
    ended = {"ended_at": _AT, "is_head": false()}
    undone: BindParameter[int] = bindparam("undone", type_=BigInteger)
    retry = change.values(**_WAITING, starts=_ZERO, error=bindparam("why"))
    return {
        "lease": update(_jobs)
        .where(
            _ITS_ID,
            _jobs.c.state == bindparam("seen_state"),
            _jobs.c.token == bindparam("seen_token"),
            _jobs.c.event_id == bindparam("seen_event_id"),  # a newer post-receive may have taken its place
            # A lease that its holder has renewed meanwhile has the same state and token.
            _jobs.c.next_attempt_at <= bindparam("now"),
            _IS_HEAD,
        )
        .values(
            state=_text(JobState.RUNNING),
            token=_jobs.c.token + literal_column("1"),
            next_attempt_at=bindparam("until"),
        ),
        # FOR UPDATE where writers run at once; SQLite's dialect leaves it out, as its writers do not.
        "has_lease": select(_jobs.c.sequence_key).where(*_LEASED).with_for_update(),
        "start": change.values(
            attempt=_jobs.c.attempt + case((_jobs.c.starts == _ZERO, literal_column("1")), else_=_ZERO),
            starts=_jobs.c.starts + literal_column("1"),
        ),
        "clear_starts": change.values(starts=_ZERO),
        "release": change.values(
            **_WAITING,
            error=bindparam("why"),
            attempt=_jobs.c.attempt - undone,
            starts=case((undone == literal_column("1"), _ZERO), else_=_jobs.c.starts),
        ),
        "renew": change.values(next_attempt_at=_AT),
        "complete": change.values(state=_text(JobState.DONE), **ended),
        "retry": retry,
        "retry_alone": retry.values(sequence_key=_jobs.c.key),
        "fail": change.values(state=_text(JobState.DEAD), **ended, error=bindparam("why")),
    }


def _sequence_statements() -> dict[str, Any]:
    other = _jobs.alias("other")
    unended = (other.c.sequence_key == bindparam("its_sequence_key"), other.c.ended_at.is_(None))
    earliest = select(func.min(other.c.id)).where(*unended).scalar_subquery()
    latest = select(func.max(other.c.id)).where(*unended).scalar_subquery()
    is_progress = exists().where(
        _events.c.id == _jobs.c.event_id, _events.c.type == literal_column(f"'{EventType.POST_RECEIVE.value}'")
    )
    requeueable = _jobs.c.state.in_([_text(JobState.DEAD), _text(JobState.WAITING)])
    return {
        "promote": update(_jobs).where(_jobs.c.id == earliest).values(is_head=true()),
        "demote": update(_jobs)
        .where(
            _jobs.c.sequence_key == bindparam("its_sequence_key"),
            _jobs.c.ended_at.is_(None),
            _IS_HEAD,
            _jobs.c.id != earliest,
        )
        .values(is_head=false()),
        "replace_progress": update(_jobs)
        .where(_jobs.c.id == latest, _jobs.c.state == _text(JobState.WAITING), is_progress)
        .values(event_id=bindparam("new_event_id"), key=bindparam("new_key")),
        "hurry_progress": update(_jobs)
        .where(
            _jobs.c.sequence_key == bindparam("its_sequence_key"),
            _jobs.c.ended_at.is_(None),
            _jobs.c.lane != _jobs.c.subscription,
        )
        .values(lane=_jobs.c.subscription),
        "requeue": update(_jobs)
        .where(_ITS_ID, requeueable)
        .values(**_WAITING, attempt=_ZERO, starts=_ZERO, ended_at=null()),
        "delete_job": delete(_jobs).where(_ITS_ID, not_(_RUNNING)),
        "limit_waits": update(_jobs)
        .where(
            _IS_NOT_DONE,
            _jobs.c.state == bindparam("of_state"),
            _jobs.c.attempt.between(bindparam("attempt_min"), bindparam("attempt_max")),
            _jobs.c.next_attempt_at > bindparam("latest"),
        )
        .values(next_attempt_at=bindparam("latest")),
    }


def _list_statements(dialect: Dialect) -> dict[str, Any]:
    of_upload: BindParameter[str] = bindparam("of_upload")
    jobs = _job.where(_jobs.c.id < bindparam("before_id")).order_by(_jobs.c.id.desc())
    in_states = _jobs.c.state.in_(json_elements(dialect, "states"))
    events = _event.where(_events.c.seq > bindparam("after"))
    events_of_upload = events.where(_events.c.upload_id == of_upload)
    return {
        "find_job": _job.where(_ITS_ID),
        "find_unended": with_limit(
            select(_jobs.c.id).where(_jobs.c.sequence_key == bindparam("its_sequence_key"), _jobs.c.ended_at.is_(None))
        ),
        "list_jobs": with_limit(jobs),
        "list_jobs_in_state": with_limit(jobs.where(_jobs.c.state == bindparam("in_state"), _IS_NOT_DONE)),
        # Most jobs are done: a scan by id, newest first, finds them soon, and their own index has another order.
        "list_jobs_done": with_limit(jobs.where(_jobs.c.state == bindparam("in_state"))),
        "list_jobs_of_upload": with_limit(jobs.where(_jobs.c.upload_id == of_upload, in_states)),
        "find_event": _event.where(_events.c.id == bindparam("event_id")),
        "list_events": with_limit(events.order_by(_events.c.seq)),
        "list_events_of_upload": with_limit(events_of_upload.order_by(_events.c.seq)),
        "newest_events": with_limit(events.order_by(_events.c.seq.desc())),
        "newest_events_of_upload": with_limit(events_of_upload.order_by(_events.c.seq.desc())),
    }


def _pruning() -> dict[str, Any]:
    jobs = select(_jobs.c.id).where(_IS_DONE, _jobs.c.ended_at < bindparam("before")).order_by(_jobs.c.ended_at)
    # An upload has few jobs, so that finding those of an event needs no index of its own.
    left = exists().where(_jobs.c.upload_id == _events.c.upload_id, _jobs.c.event_id == _events.c.id)
    events = select(_events.c.seq).where(_events.c.at < bindparam("before"), not_(left)).order_by(_events.c.at)
    exists_still = exists().where(
        _uploads.c.id == _jobs.c.upload_id, _uploads.c.status.not_in([_text(Status.EXPIRED), _text(Status.TERMINATED)])
    )
    is_dead = _jobs.c.state == _text(JobState.DEAD)
    dead = select(_jobs.c.id).where(_IS_NOT_DONE, is_dead, _jobs.c.ended_at < bindparam("before"))
    return {
        "find_forgotten": with_limit(dead.where(not_(exists_still))),
        "delete_dead": delete(_jobs).where(_ITS_ID, is_dead),
        "prune_jobs": delete(_jobs).where(_jobs.c.id.in_(_rows(jobs))),
        "prune_events": delete(_events).where(_events.c.seq.in_(_rows(events))),
    }


def _rows(statement: Select[Any]) -> Select[Any]:
    # A table of its own: a DELETE cannot have a LIMIT, and must not take the inner table for its own.
    inner = with_limit(statement).subquery("old")
    return select(next(iter(inner.c)))


def _text(state: JobState | Status) -> ColumnElement[str]:
    # A literal, not a value: a partial index applies only if the statement's text contains its condition.
    return literal_column(f"'{state.value}'")
