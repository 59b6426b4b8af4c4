"""Runs one attempt of a job and records the result."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from tusd_py.contracts.endpoint_states import DISPATCH
from tusd_py.contracts.job_queue import JobQueue, LeaseLost
from tusd_py.contracts.records import RecordConflict, RecordsError
from tusd_py.model.jobs import Job
from tusd_py.settings import Settings, without_credentials
from tusd_py.uploads.ports import Ports

from .actor import Actor, GiveUp, JobContext, Retry

log = logging.getLogger(__name__)

_BACKOFF_SECONDS = 1.0
_BACKOFF_SECONDS_MAX = 4 * 3600.0
_DOUBLINGS_MAX = 30
_CONFLICT_SECONDS = 0.2
_UNKNOWN_ACTOR_SECONDS = 60.0
_ERROR_CHARACTERS_MAX = 500

#: A job is dead when its worker has died with it so often: once beside others, then alone.
CRASHES_MAX = 3


def backoff_seconds(attempt: int, chance: Callable[[], float] = random.random) -> float:
    """How long to wait after failure number ``attempt``: doubling from 1 s up to 4 hours, plus or minus a quarter."""
    exact: float = min(_BACKOFF_SECONDS_MAX, _BACKOFF_SECONDS * 2.0 ** min(attempt - 1, _DOUBLINGS_MAX))
    return exact * (0.75 + chance() / 2)


@dataclass(slots=True)
class Counters:
    """Results of attempts since the worker started."""

    completed: int = 0
    retried: int = 0
    failed: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Runs jobs whose lease this process holds."""

    ports: Ports
    job_queue: JobQueue
    settings: Settings
    actors: Mapping[str, Actor]
    counters: Counters = field(default_factory=Counters)

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.settings.worker.lease_seconds)

    async def can_run(self, job: Job) -> bool:
        """Whether this worker can run ``job``. If not, the job is already returned or failed."""
        if job.actor not in self.actors:
            reason = f"this worker has no actor {job.actor!r}: is it older than the server?"
            await self._return(job, reason, _UNKNOWN_ACTOR_SECONDS)
            return False
        if job.starts >= CRASHES_MAX:
            await self._fail(job, f"gave up after {job.starts} starts: its worker died each time")
            return False
        if job.attempt >= self.settings.worker.attempts_max and not job.starts:
            await self._fail(job, f"gave up after {job.attempt} attempts: {job.error or 'its workers died'}")
            return False
        return True

    async def run(self, job: Job) -> None:
        """Run the actor of ``job`` once and record the result. Raises nothing except its own cancellation."""
        try:
            await self.actors[job.actor](JobContext(job, self.ports, self.settings))
        except Retry as error:
            await self.retry(job, error.reason, error.after_seconds, alone=error.alone)
        except GiveUp as error:
            await self._fail(job, error.reason)
        except LeaseLost:
            self.counters.lost += 1
        except RecordConflict as error:
            # Another process changed the upload meanwhile. That is not a failure: the job runs again on the new record.
            await self.retry(job, describe(error), _CONFLICT_SECONDS)
        except Exception as error:
            # The outermost handler of an actor: errors that it did not expect are logged, and the job is retried.
            log.warning("job failed", exc_info=True, extra=log_fields(job))
            await self.retry(job, describe(error), None)
        else:
            self.counters.completed += 1
            await _record(job, self.job_queue.complete(job, self.ports.clock()))

    async def clear_starts(self, job: Job) -> None:
        """Record that ``job`` does not crash its worker."""
        await _record(job, self.job_queue.clear_starts(job))

    async def renew(self, job: Job) -> None:
        """Renew the lease of ``job`` for its whole duration. Raises ``LeaseLost``."""
        await self.job_queue.renew(job, self.ports.clock() + self.lease)

    async def retry(self, job: Job, reason: str, after_seconds: float | None, *, alone: bool = False) -> None:
        """Return ``job`` to be run again later; fail it if that was its last attempt.

        A job of a subscription without order leaves its sequence, and so does one with ``alone``.
        """
        if job.attempt >= self.settings.worker.attempts_max:
            await self._fail(job, f"gave up after {job.attempt} attempts: {reason}")
            return
        seconds = backoff_seconds(job.attempt) if after_seconds is None else max(0.0, after_seconds)
        log.info("job will be retried", extra={**log_fields(job), "after_seconds": round(seconds, 3), "reason": reason})
        self.counters.retried += 1
        at = self.ports.clock() + timedelta(seconds=seconds)
        alone = alone or self._is_unordered(job)
        await _record(job, self.job_queue.retry(job, at, reason[:_ERROR_CHARACTERS_MAX], alone=alone))

    async def give_back(self, job: Job, reason: str, *, started: bool = False) -> None:
        """Return ``job``, which has not failed, to run again at once; ``started`` if its actor was interrupted."""
        await self._return(job, reason, started=started)

    async def report_dispatch(self, failure: str) -> None:
        """Record for ``/readyz`` why jobs cannot be dispatched, or with an empty ``failure`` that they can."""
        states = self.ports.endpoint_states
        if states is None:
            return
        try:
            if failure:
                await states.report_failure(DISPATCH, failure[:_ERROR_CHARACTERS_MAX], self.ports.clock())
            else:
                await states.clear_failure(DISPATCH)
        except RecordsError as error:
            log.warning("could not record the state of the dispatcher", extra={"reason": describe(error)})

    def _is_unordered(self, job: Job) -> bool:
        subscriptions = self.ports.policy.subscriptions
        return any(each.name == job.subscription and not each.is_ordered for each in subscriptions)

    async def _return(self, job: Job, reason: str, after_seconds: float = 0.0, *, started: bool = False) -> None:
        at = self.ports.clock() + timedelta(seconds=after_seconds)
        await _record(job, self.job_queue.release(job, at, reason[:_ERROR_CHARACTERS_MAX], started=started))

    async def _fail(self, job: Job, reason: str) -> None:
        log.error("job is dead", extra={**log_fields(job), "reason": reason})
        self.counters.failed += 1
        await _record(job, self.job_queue.fail(job, self.ports.clock(), reason[:_ERROR_CHARACTERS_MAX]))


async def _record(job: Job, writing: Awaitable[None]) -> None:
    """Record a result. If that fails, the lease expires and the job runs once more."""
    try:
        await writing
    except LeaseLost:
        return  # its effect has completed the job, or another worker holds it now
    except RecordsError as error:
        log.warning("could not record job result", extra={**log_fields(job), "reason": describe(error)})


def log_fields(job: Job) -> dict[str, object]:
    """The fields of log records about ``job``."""
    fields: dict[str, object] = {"job": job.id, "actor": job.actor, "upload": job.upload_id, "attempt": job.attempt}
    return {**fields, "subscription": job.subscription} if job.subscription else fields


def describe(error: Exception) -> str:
    """The type and message of ``error``, with the credentials of URLs removed."""
    return without_credentials(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
