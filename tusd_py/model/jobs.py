"""Jobs and subscriptions, and the events and jobs that are saved together with a change of a record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tusd_py.model.audit import AuditEntry
from tusd_py.model.codes import CodeCharge
from tusd_py.model.events import Event, EventType
from tusd_py.model.frozen import frozen
from tusd_py.model.links import Link
from tusd_py.model.quota import QuotaCharge


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Delivers events of these types through ``actor``. Without an actor the events are only recorded."""

    name: str
    actor: str
    types: frozenset[EventType]
    is_ordered: bool = True  # whether an event waits until the events before it are delivered, however long that takes


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedEndpoint:
    """A subscription to which nothing is delivered, because its endpoint answered 410 Gone."""

    name: str
    reason: str
    since: datetime


#: Progress reports get this part of the threads that other jobs get.
PROGRESS_PART = 4

#: The end of the lane of a subscription's progress reports; no name of a subscription ends with it.
_PROGRESS = " (progress)"


class JobState(StrEnum):
    WAITING = "waiting"  # for ``next_attempt_at``, or for an earlier job of its sequence
    RUNNING = "running"  # a worker has its lease
    DONE = "done"
    DEAD = "dead"  # given up; an operator may requeue it


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """Work for an actor. Only one job per ``key`` is ever created, whatever the state of the first.

    Jobs with the same ``sequence_key`` run one after the other in the order of creation: a job that waits for its next
    attempt delays the jobs behind it, and no others. ``subscription`` is the name of the subscription that the job
    serves (a webhook endpoint), if any.
    """

    actor: str
    key: str
    upload_id: str
    sequence_key: str
    subscription: str = ""
    event_id: str = ""
    #: The job is for a post-receive: where another one waits at the end of its sequence, that one delivers this event.
    is_progress: bool = False
    #: A post-receive may wait before it in its sequence; it then moves to the lane of this job, which waits for it.
    follows_progress: bool = False

    @property
    def lane(self) -> str:
        return f"{self.subscription}{_PROGRESS}" if self.is_progress else self.subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job in the job queue.

    ``attempt`` counts the attempts since the job was created or requeued; a claim is none until the actor starts.
    ``starts`` counts the starts since the end of an attempt was last recorded: it is above 0 if the actor runs, or if
    its worker died. The repetition after such a crash is not a new attempt. ``token`` is the fencing token of the
    lease: it grows with every claim and never falls, so that a worker with an earlier lease cannot complete the job.
    The jobs of a ``lane`` share threads: those of a subscription, or its progress reports that no other event follows.
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
    next_attempt_at: datetime  # of a running job: the end of its lease
    ended_at: datetime | None = None
    error: str = ""  # of the latest failed attempt
    starts: int = 0
    lane: str = ""


@frozen(kw_only=True)
class Effects:
    """The events, jobs, charges and audit entries saved in the transaction that changes a record."""

    events: tuple[Event, ...] = ()
    jobs: tuple[NewJob, ...] = ()
    completed_job: Job | None = None  # the job that made the change, which is thereby done
    quota: QuotaCharge | None = None
    audit: tuple[AuditEntry, ...] = ()
    code: CodeCharge | None = None
    link: Link | None = None  # a new one, for the upload that is recorded
    durable: bool = False  # whether the change must survive a loss of power, whatever it changes


NO_EFFECTS = Effects()


def is_progress_lane(lane: str) -> bool:
    """Whether the jobs of ``lane`` only report progress: see ``PROGRESS_PART``."""
    return lane.endswith(_PROGRESS)
