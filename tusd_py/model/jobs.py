"""Jobs as values: what has still to be done for an upload, and what is written together with a change of its record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tusd_py.model.events import Event, EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Somebody who is told of events of these types, by ``actor``; with none, they are recorded for whoever looks."""

    name: str
    actor: str
    types: frozenset[EventType]


class JobState(StrEnum):
    WAITING = "waiting"  # for its time, or for an earlier one
    RUNNING = "running"  # a worker has its lease
    DONE = "done"
    DEAD = "dead"  # given up; a person may have it tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """Work to be done by an actor. A second one with the same ``key`` is never made, whatever became of the first.

    Jobs with the same ``lane`` are done one after the other in the order they were made: one that is tried again later
    holds up those behind it, and no others. ``subscription`` is whom the actor works for (the name of a webhook
    endpoint).
    """

    actor: str
    key: str
    upload_id: str
    sequence_key: str
    subscription: str = ""
    event_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as the outbox has it.

    ``attempt`` counts the times it was given out, anew once it was revived. ``token`` is the fence of its lease: it
    grows each time the job is given out and never falls, so that no worker of an earlier lease can end it.
    """

    id: int
    actor: str
    subscription: str
    key: str
    sequence_key: str
    upload_id: str
    event_id: str
    state: JobState
    attempt: int
    token: int = 0
    created_at: datetime
    next_attempt_at: datetime  # of a running one: when its lease runs out
    ended_at: datetime | None = None
    error: str = ""  # of the newest attempt that failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What is written in the transaction of a record's change: all of it, or nothing."""

    events: tuple[Event, ...] = ()
    jobs: tuple[NewJob, ...] = ()
    completed_job: Job | None = None  # the job whose effect the change is


NO_EFFECTS = Effects()
