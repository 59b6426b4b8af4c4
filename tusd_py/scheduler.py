"""Runs the schedules that are due, in one of the processes that share the database."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from time import monotonic
from typing import Protocol

from tusd_py.contracts.job_queue import JobQueue
from tusd_py.contracts.schedule_states import ScheduleStates
from tusd_py.logs import Outages
from tusd_py.model.jobs import NewJob
from tusd_py.model.schedules import RunOutcome, ScheduleState
from tusd_py.schedules import Schedule
from tusd_py.settings import Settings, without_credentials
from tusd_py.settings.access import zone_of
from tusd_py.uploads.ports import Ports
from tusd_py.web.metrics import ServerMetrics

log = logging.getLogger(__name__)

#: How soon a schedule runs that an operator has made due, or whose process was killed.
_POLL_SECONDS = 5.0
_FIRST_SECONDS = 0.05
_LEASE = timedelta(seconds=60)
_RENEW_SECONDS = 20.0
#: A schedule that has not begun so long after it was due is late.
_LATE = timedelta(minutes=10)
#: Times that are so far ahead were written before the clock was set back.
_AHEAD = timedelta(seconds=5)


class Leader(Protocol):
    """Says whether this process does the maintenance for all processes that share the data."""

    @property
    def is_leader(self) -> bool: ...


class Scheduler:
    """Claims schedules that are due and runs them, while ``leader`` says that this process does the maintenance.

    All processes could run: a claim in the database decides. Only the one that does the maintenance asks it for what
    is due, so that the others cost nothing.
    """

    def __init__(
        self, ports: Ports, settings: Settings, schedules: Sequence[Schedule], metrics: ServerMetrics, leader: Leader
    ) -> None:
        assert ports.schedule_states is not None and ports.job_queue is not None, "schedules need a database"
        self._states: ScheduleStates = ports.schedule_states
        self._job_queue: JobQueue = ports.job_queue
        self._ports = ports
        self._settings = settings
        self._metrics = metrics
        self._leader = leader
        self._schedules = schedules
        self._zone = zone_of(settings.schedules.time_zone)
        self._outages = Outages("schedules cannot be looked at, retrying")
        self._late = Outages("schedule is late")
        self._running: set[str] = set()
        # Leases that are further ahead than any process writes them, and when they were first seen.
        self._leases_ahead: dict[tuple[str, datetime], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._main = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Cancel what runs, and wait for it. A run that is interrupted is repeated by the next process."""
        tasks = [self._main, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _run(self) -> None:
        is_planned, seconds = False, _FIRST_SECONDS
        while True:
            seconds = min(2 * seconds, _POLL_SECONDS)  # at the start it takes a moment until there is a leader
            try:
                if self._leader.is_leader:
                    if not is_planned:
                        await self._plan()
                        is_planned = True
                    seconds = await self._run_due()
                self._outages.succeeded(log, "schedules")
            except Exception as error:  # noqa: BLE001
                # The outermost handler of this task: it must survive a database that is unavailable for a minute.
                self._outages.failed(log, "schedules", without_credentials(f"{type(error).__name__}: {error}"))
            await asyncio.sleep(seconds)

    async def _plan(self) -> None:
        """Record schedules that are new or have another timing. Those that missed a run while nothing ran are due."""
        now = self._ports.clock()
        zone = self._settings.schedules.time_zone
        for schedule in self._schedules:
            due_at = schedule.timing.next_after(now, self._zone)
            await self._states.plan(schedule.name, schedule.timing.shown_in(zone), due_at)

    async def _run_due(self) -> float:
        """Begin what is due; return the seconds after which to look again."""
        states = {state.name: state for state in await self._states.list_states()}
        now = self._ports.clock()
        seconds = _POLL_SECONDS
        for schedule in self._schedules:
            state = states.get(schedule.name)
            if state is None or schedule.name in self._running:
                continue
            self._measure(schedule, state)
            await self._correct(schedule, state, now)
            if state.due_at <= now:
                await self._begin(schedule, state)
            else:
                seconds = min(seconds, (state.due_at - now).total_seconds())
        return max(seconds, 0.05)

    async def _correct(self, schedule: Schedule, state: ScheduleState, now: datetime) -> None:
        """Repair what a clock that was set back, or a worker that was killed, has left; later passes find it right."""
        due_at = schedule.timing.next_after(now, self._zone)
        if state.due_at > due_at and (state.started_at is None or state.started_at > now + _AHEAD):
            await self._states.postpone(schedule.name, state.due_at, due_at)
        if state.holder and state.lease_until is not None and state.lease_until > now + _LEASE + _AHEAD:
            lease = (schedule.name, state.lease_until)
            # A running holder renews the lease by the present clock.
            if monotonic() - self._leases_ahead.setdefault(lease, monotonic()) > 2 * _RENEW_SECONDS:
                del self._leases_ahead[lease]
                await self._states.renew(schedule.name, state.holder, now)
        if schedule.is_heavy and _is_left_to_a_job(state) and not await self._has_unended_job(schedule):
            # A job reports before it ends, which it may have done since the states were read.
            (found,) = (each for each in await self._states.list_states() if each.name == schedule.name)
            if _is_left_to_a_job(found):
                reason = "its job has ended without a result: see tusd-py jobs list --state dead"
                await self._states.report(schedule.name, RunOutcome.FAILED, reason, found.started_at or now, now)

    async def _has_unended_job(self, schedule: Schedule) -> bool:
        return await self._job_queue.has_unended(f"schedule {schedule.name}")

    def _measure(self, schedule: Schedule, state: ScheduleState) -> None:
        now, is_running = self._ports.clock(), state.outcome is RunOutcome.RUNNING
        since = state.started_at if is_running and state.started_at is not None else state.due_at
        late = max(timedelta(), now - since) if is_running or state.due_at <= now else timedelta()
        self._metrics.schedule(
            schedule.name,
            failed=state.outcome is RunOutcome.FAILED,
            late_seconds=late.total_seconds(),
            ended_at=state.ended_at,
        )
        if late > _LATE:
            verb = "running" if is_running else "due"
            self._late.failed(log, schedule.name, f"{verb} since {since:%Y-%m-%dT%H:%M:%SZ}")
        else:
            self._late.succeeded(log, schedule.name)

    async def _begin(self, schedule: Schedule, state: ScheduleState) -> None:
        holder = secrets.token_hex(8)
        now = self._ports.clock()
        if schedule.is_heavy and not state.holder and await self._has_unended_job(schedule):
            log.warning("schedule skipped: its last run has not ended", extra={"schedule": schedule.name})
            await self._states.postpone(schedule.name, state.due_at, schedule.timing.next_after(now, self._zone))
            return
        before = await self._states.claim(schedule.name, holder, now, now + _LEASE)
        if before is None:
            return
        if before.holder:
            log.warning("schedule taken over: its run has died", extra={"schedule": schedule.name})
        self._running.add(schedule.name)
        task = asyncio.create_task(self._hold(schedule, before, holder))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hold(self, schedule: Schedule, before: ScheduleState, holder: str) -> None:
        """Run a claimed schedule, renew its lease meanwhile, and record its result."""
        renewing = asyncio.create_task(self._renew(schedule.name, holder))
        try:
            if schedule.is_heavy:
                await self._hand_over(schedule, before, holder)
                return
            outcome, detail = await self._perform(schedule)
            now = self._ports.clock()
            due_at = schedule.timing.next_after(now, self._zone)
            await self._states.finish(schedule.name, holder, outcome, detail, now, due_at)
        except Exception:
            # The outermost handler of this task: the result could not be recorded, so the run is repeated.
            log.exception("could not record the run of a schedule")
        finally:
            renewing.cancel()
            self._running.discard(schedule.name)

    async def _hand_over(self, schedule: Schedule, before: ScheduleState, holder: str) -> None:
        """Add the job that runs a claimed schedule. Its result is the job's to record: it may have ended already."""
        now = self._ports.clock()
        if before.holder and before.outcome is not RunOutcome.RUNNING:
            # The process that died had added the job, which has ended since: what it reported stays.
            started_at, ended_at = before.started_at or now, before.ended_at or now
            await self._states.report(schedule.name, before.outcome, before.detail, started_at, ended_at)
        await self._job_queue.add_jobs([schedule_job(schedule.name, before)], now)
        await self._states.hand_over(schedule.name, holder, schedule.timing.next_after(now, self._zone))

    async def _perform(self, schedule: Schedule) -> tuple[RunOutcome, str]:
        try:
            return RunOutcome.DONE, await schedule.run(self._ports, self._settings)
        except Exception as error:
            # The outermost handler of a run: what fails is shown to operators, and tried again when it is due next.
            log.warning("schedule failed", exc_info=True, extra={"schedule": schedule.name})
            return RunOutcome.FAILED, without_credentials(f"{type(error).__name__}: {error}")

    async def _renew(self, name: str, holder: str) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            with suppress(Exception):  # the next renewal may succeed; if none does, another process takes over
                await self._states.renew(name, holder, self._ports.clock() + _LEASE)


def _is_left_to_a_job(state: ScheduleState) -> bool:
    return state.outcome is RunOutcome.RUNNING and not state.holder


def schedule_job(name: str, before: ScheduleState) -> NewJob:
    """The job that runs a schedule, the same for every process that adds it for this due time."""
    return NewJob(
        actor="schedules",
        key=f"schedule {name} {before.due_at.isoformat()}",
        upload_id="",
        sequence_key=f"schedule {name}",
    )
