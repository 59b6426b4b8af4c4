"""One attempt at a job: the actor is let do it, and how it went is written down."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from tusd_py.contracts.jobs import Job
from tusd_py.contracts.outbox import JobLost, Outbox
from tusd_py.contracts.records import RecordConflict, RecordsError
from tusd_py.settings import Settings, without_credentials
from tusd_py.uploads.ports import Ports

from .tasks import Actor, Again, Dead, Task

log = logging.getLogger(__name__)

_BACKOFF_SECONDS = 1.0
_BACKOFF_SECONDS_MAX = 4 * 3600.0
_DOUBLINGS_MAX = 30
_CONFLICT_SECONDS = 0.2
_UNKNOWN_ACTOR_SECONDS = 60.0
_ERROR_CHARACTERS_MAX = 500


def backoff_seconds(attempt: int, chance: Callable[[], float] = random.random) -> float:
    """How long to wait after failure number ``attempt``: doubling from 1 s up to 4 hours, a quarter more or less."""
    exact: float = min(_BACKOFF_SECONDS_MAX, _BACKOFF_SECONDS * 2.0 ** min(attempt - 1, _DOUBLINGS_MAX))
    return exact * (0.75 + chance() / 2)


@dataclass(slots=True)
class Tally:
    """What became of attempts since the worker started."""

    done: int = 0
    again: int = 0
    dead: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Attempts:
    """Makes attempts at jobs whose lease this process has."""

    ports: Ports
    outbox: Outbox
    settings: Settings
    actors: Mapping[str, Actor]
    tally: Tally = field(default_factory=Tally)

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.settings.worker.lease_seconds)

    async def can_be_made(self, job: Job) -> bool:
        """Whether to try ``job``. Where not, that is written down already."""
        if job.actor not in self.actors:
            reason = f"this worker has no actor {job.actor!r}: is it older than the server?"
            await self.again(job, reason, _UNKNOWN_ACTOR_SECONDS)
            return False
        if job.attempt > self.settings.worker.attempts_max:
            await self._bury(job, f"given up after {job.attempt - 1} attempts: {job.error or 'its workers died'}")
            return False
        return True

    async def make(self, job: Job) -> None:
        """Let the actor try once, and write down how it went. Raises nothing but what cancels it."""
        try:
            await self.actors[job.actor](Task(job, self.ports, self.settings, lambda: self.renew(job)))
        except Again as error:
            await self.again(job, error.reason, error.after_seconds)
        except Dead as error:
            await self._bury(job, error.reason)
        except JobLost:
            self.tally.lost += 1
        except RecordConflict as error:
            # Somebody else changed the upload meanwhile, which is nobody's fault: it is looked at anew.
            await self.again(job, told(error), _CONFLICT_SECONDS)
        except Exception as error:
            # The outermost handler of an actor: whatever it did not expect is told, and tried again.
            log.warning("job failed", exc_info=True, extra=facts(job))
            await self.again(job, told(error), None)
        else:
            self.tally.done += 1
            await _settled(job, self.outbox.done(job, self.ports.clock()))

    async def renew(self, job: Job) -> None:
        """Keep the lease of ``job`` for its whole length from now. Raises ``JobLost``."""
        await self.outbox.renew(job, self.ports.clock() + self.lease)

    async def again(self, job: Job, reason: str, after_seconds: float | None) -> None:
        """Give ``job`` back to be tried later, or give it up if it was tried often enough."""
        if job.attempt >= self.settings.worker.attempts_max:
            await self._bury(job, f"given up after {job.attempt} attempts: {reason}")
            return
        seconds = backoff_seconds(job.attempt) if after_seconds is None else max(0.0, after_seconds)
        log.info("job is tried again", extra={**facts(job), "after_seconds": round(seconds, 3), "reason": reason})
        self.tally.again += 1
        at = self.ports.clock() + timedelta(seconds=seconds)
        await _settled(job, self.outbox.again(job, at, reason[:_ERROR_CHARACTERS_MAX]))

    async def give_back(self, job: Job, reason: str) -> None:
        """Give ``job`` back to be done by another worker at once: nothing is wrong with it."""
        await _settled(job, self.outbox.again(job, self.ports.clock(), reason))

    async def _bury(self, job: Job, reason: str) -> None:
        log.error("job is dead", extra={**facts(job), "reason": reason})
        self.tally.dead += 1
        await _settled(job, self.outbox.bury(job, self.ports.clock(), reason[:_ERROR_CHARACTERS_MAX]))


async def _settled(job: Job, writing: Awaitable[None]) -> None:
    """Write down how it went. Where that fails the lease runs out, and the job is done once more."""
    try:
        await writing
    except JobLost:
        return  # it ended with its effect, or another worker has it by now
    except RecordsError as error:
        log.warning("how a job went could not be saved", extra={**facts(job), "reason": told(error)})


def facts(job: Job) -> dict[str, object]:
    """What the log tells of a job."""
    known: dict[str, object] = {"job": job.id, "actor": job.actor, "upload": job.upload_id, "attempt": job.attempt}
    return {**known, "consumer": job.consumer} if job.consumer else known


def told(error: Exception) -> str:
    """What an error says, for people, without the credentials of URLs in it."""
    return without_credentials(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
