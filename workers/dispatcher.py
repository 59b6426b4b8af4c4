"""Takes jobs from the queue to the actors: dispatches what is due, renews leases, and stops in order.

A crash loses no job: the leases of the crashed worker expire, and its jobs run again, perhaps for the second time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from functools import partial

from tusd_py.cancellation import shielded
from tusd_py.contracts.job_queue import LeaseLost
from tusd_py.contracts.records import RecordsError
from tusd_py.model.jobs import PROGRESS_PART, Job, JobState, is_progress_lane

from .broker import JobTransport
from .isolation import Isolation
from .runner import JobRunner, describe, log_fields

log = logging.getLogger(__name__)

#: A process that adds jobs wakes the dispatcher, but a wake-up may be lost.
_POLL_SECONDS = 1.0
_RUNNING_COUNTED_MAX = 1000


@dataclass(slots=True)
class InFlight:
    """A job whose lease this process renews, and the task that runs it once it has begun."""

    job: Job
    task: asyncio.Task[None] | None = None
    is_started: bool = False  # the start of the actor is recorded
    is_lost: bool = False  # another worker has the lease


class Dispatcher:
    """Dispatches the jobs of one worker process. Everything in it runs on the event loop of the actors."""

    def __init__(self, runner: JobRunner, transport: JobTransport, threads: int) -> None:
        self._runner = runner
        self._job_queue = runner.job_queue
        self._clock = runner.ports.clock
        self._transport = transport
        self._threads = threads
        self._in_flight: dict[int, InFlight] = {}
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()  # set each time a job in flight ends
        self._isolation = Isolation()
        self._clearing: set[asyncio.Task[None]] = set()
        self._is_draining = False
        self._failing = ""

    def wake(self) -> None:
        """Look for jobs now."""
        self._wake.set()

    async def run(self) -> None:
        """Dispatch jobs until ``stop``. Errors of the database and of the broker are logged once and retried."""
        renewing = asyncio.create_task(self._keep_renewing())
        await self._runner.report_dispatch("")  # a worker before this one may have reported a failure
        try:
            while not self._is_draining:
                self._wake.clear()
                try:
                    while not self._is_draining and await self._dispatch():
                        pass
                    await self._set_failing("")
                    await self._wait()
                except (RecordsError, ConnectionError) as error:
                    await self._set_failing(describe(error))
                    await asyncio.sleep(_POLL_SECONDS)
            while self._in_flight:
                await self._wait_for_end()
        finally:
            renewing.cancel()

    async def stop(self) -> None:
        """Dispatch nothing more and return jobs that have not begun; ``run`` returns when the last actor has ended."""
        self._is_draining = True
        self._wake.set()
        for entry in [entry for entry in self._in_flight.values() if not entry.is_started]:
            if entry.task is not None:
                entry.task.cancel()  # it waits for its turn
                continue
            self._remove(entry)
            await self._runner.give_back(entry.job, entry.job.error)

    async def perform(self, job_id: int, token: int) -> None:
        """Run a dispatched job. Does nothing if the job has been dispatched again since, to another worker."""
        entry = await self._take(job_id, token)
        if entry is None:
            return
        entry.task = asyncio.current_task()
        try:
            await self._isolation.wait(entry.job)
            with self._isolation.running(entry.job, partial(self._on_survived, entry)):
                await shielded(self._start(entry))
                await self._runner.run(entry.job)
        except LeaseLost:
            self._runner.counters.lost += 1
        except RecordsError as error:
            # The lease expires, and the job is dispatched again.
            log.warning("could not start a job", extra={**log_fields(entry.job), "reason": describe(error)})
        except asyncio.CancelledError:
            if entry.is_lost:
                self._runner.counters.lost += 1
                return
            await asyncio.shield(self._record_interruption(entry))
            raise
        finally:
            self._remove(entry)

    async def _start(self, entry: InFlight) -> None:
        entry.job = await self._job_queue.start(entry.job)
        entry.is_started = True

    def _on_survived(self, entry: InFlight) -> None:
        clearing = asyncio.create_task(self._runner.clear_starts(entry.job))
        self._clearing.add(clearing)
        clearing.add_done_callback(self._clearing.discard)

    async def _record_interruption(self, entry: InFlight) -> None:
        job = entry.job
        if not entry.is_started:
            await self._runner.give_back(job, job.error)
        elif self._is_draining:
            await self._runner.give_back(job, "its worker was stopped", started=True)
        else:
            seconds = self._runner.settings.worker.time_limit_seconds
            await self._runner.retry(job, f"it took longer than {seconds:g} s (worker.time_limit_seconds)", None)

    async def _dispatch(self) -> bool:
        """Claim jobs for half of the free capacity and pass them to the actors. True if there may be more."""
        capacity, full = await self._capacity()
        if capacity <= 0:
            return False
        now = self._clock()
        # Half only: the next claim counts anew what each lane leaves to the others. After a failure one job
        # tells whether it is over.
        limit = 1 if self._failing else (capacity + 1) // 2
        jobs = await self._job_queue.claim(now, now + self._runner.lease, limit, full)
        for place, job in enumerate(jobs):
            if not await self._runner.can_run(job):
                continue
            try:
                await self._send(job)
            except ConnectionError as error:
                reason = f"the broker does not take it: {describe(error)}"
                await asyncio.gather(*(self._return_unsent(unsent, reason) for unsent in jobs[place:]))
                raise
        if jobs:
            await self._set_failing("")
        return bool(jobs)

    async def _return_unsent(self, job: Job, reason: str) -> None:
        self._in_flight.pop(job.id, None)
        await self._runner.give_back(job, reason)

    async def _set_failing(self, reason: str) -> None:
        """Log and report that dispatching fails, or works again: once for each reason."""
        if reason == self._failing:
            return
        self._failing = reason
        if reason:
            log.warning("dispatch failed, retrying", extra={"reason": reason})
        await self._runner.report_dispatch(reason)

    async def _capacity(self) -> tuple[int, frozenset[str]]:
        """How many more jobs can run, and the lanes that already have their share of the threads.

        A lane gets no more threads than it leaves to all others, so that a slow one delays only itself; one of progress
        reports gets a part of that, so that they never delay the events that matter.
        """
        total = self._threads * await self._transport.workers(self._runner.lease.total_seconds())
        jobs = await self._running() if self._transport.is_shared else [entry.job for entry in self._in_flight.values()]
        free = total - len(jobs)
        counts = Counter(job.lane for job in jobs)
        return free, frozenset(lane for lane, count in counts.items() if count * _weight(lane) >= free)

    async def _running(self) -> list[Job]:
        """The jobs that any worker holds a lease of."""
        now = self._clock()
        running = await self._job_queue.list_jobs(states=(JobState.RUNNING,), limit=_RUNNING_COUNTED_MAX)
        return [job for job in running if job.next_attempt_at > now]

    async def _send(self, job: Job) -> None:
        if self._is_draining:
            await self._runner.give_back(job, job.error)
            return
        if not self._transport.is_shared:
            self._in_flight[job.id] = InFlight(job)
        await self._transport.send(job)

    async def _take(self, job_id: int, token: int) -> InFlight | None:
        entry = self._in_flight.get(job_id)
        if entry is None and self._transport.is_shared and not self._is_draining:
            job = await self._job_queue.find_job(job_id)
            # A message may be older than the newest lease, which another worker or a later message has.
            if job is not None and job.state is JobState.RUNNING and job.token == token:
                entry = self._in_flight.setdefault(job_id, InFlight(job))
        return entry if entry is not None and entry.job.token == token and entry.task is None else None

    def _remove(self, entry: InFlight) -> None:
        if self._in_flight.get(entry.job.id) is entry:
            del self._in_flight[entry.job.id]
        self._wake.set()
        self._ended.set()

    async def _wait_for_end(self) -> None:
        self._ended.clear()
        await self._ended.wait()

    async def _wait(self) -> None:
        """Wait for a wake-up, for the time of the next job, or for one second."""
        if self._wake.is_set():
            return
        due = await self._job_queue.next_due()
        seconds = _POLL_SECONDS if due is None else (due - self._clock()).total_seconds()
        # A job that is due but was not claimed waits for capacity, or for an earlier job with its sequence key. The end
        # of those wakes the dispatcher.
        seconds = min(seconds, _POLL_SECONDS) if seconds > 0 else _POLL_SECONDS
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _keep_renewing(self) -> None:
        """Every third of a lease, renew the leases of all jobs in flight."""
        while True:
            await asyncio.sleep(self._runner.lease.total_seconds() / 3)
            await asyncio.gather(*(self._renew(entry) for entry in list(self._in_flight.values())))

    async def _renew(self, entry: InFlight) -> None:
        """Renew one lease. An actor whose job another worker has claimed is cancelled."""
        try:
            await self._runner.renew(entry.job)
        except LeaseLost:
            if self._in_flight.get(entry.job.id) is not entry:
                return  # it ended meanwhile
            log.warning("lost the lease of a job to another worker", extra=log_fields(entry.job))
            entry.is_lost = True
            if entry.task is None:
                self._remove(entry)
            else:
                entry.task.cancel()
        except RecordsError as error:
            log.warning("could not renew a lease", extra={**log_fields(entry.job), "reason": describe(error)})


def _weight(lane: str) -> int:
    return PROGRESS_PART if is_progress_lane(lane) else 1
