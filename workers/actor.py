"""The input of an actor, and its exceptions. Each actor is a module of ``workers.actors``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tusd_py.model.jobs import Job
from tusd_py.settings import Settings
from tusd_py.uploads.ports import Ports


class Retry(Exception):
    """The job failed for now: run it again after ``after_seconds``, or with ``None`` after the usual backoff.

    ``reason`` is kept with the job and shown to people, so it must contain no secrets. With ``alone`` the jobs behind
    it in its sequence do not wait for it any longer.
    """

    def __init__(self, reason: str, after_seconds: float | None = None, *, alone: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_seconds = after_seconds
        self.alone = alone


class GiveUp(Exception):
    """The job can never succeed: it is kept as dead, with ``reason``, until a person retries or deletes it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class JobContext:
    """One attempt at a job. The dispatcher renews its lease while the actor runs.

    An actor returns after its effect. If the effect is a change of a record, it is saved with
    ``Cause(completed_job=context.job)``, which completes the job in the same transaction. The runner completes every
    other job, so after a crash the actor may run again. Every exception except ``GiveUp`` causes a retry.
    """

    job: Job
    ports: Ports
    settings: Settings


Actor = Callable[[JobContext], Awaitable[None]]
