"""The scheduler runs each schedule once, also missed ones, takes over, and shows failures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support.harness import EPOCH, Clock
from tests.support.waiting import eventually
from tusd_py import scheduler
from tusd_py.model.jobs import Job
from tusd_py.model.schedules import RunOutcome, ScheduleState, parse_timing
from tusd_py.scheduler import Scheduler, schedule_job
from tusd_py.schedules import Schedule
from tusd_py.settings import Settings
from tusd_py.uploads.ports import Ports
from tusd_py.web.metrics import ServerMetrics
from tusd_py.wiring.ports import close_ports, open_ports

pytestmark = pytest.mark.anyio

Run = Callable[[Ports, Settings], Awaitable[str]]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_POLL_SECONDS", 0.05)


class Always:
    """The only process: it does the maintenance."""

    is_leader = True


class Runs:
    """Counts its runs; ``failure`` makes them fail."""

    def __init__(self) -> None:
        self.count = 0
        self.failure: Exception | None = None

    async def __call__(self, ports: Ports, settings: Settings) -> str:
        self.count += 1
        if self.failure is not None:
            raise self.failure
        return f"run {self.count}"


def settings_of(folder: Path) -> Settings:
    return Settings.model_validate({"storage": {"data_dir": str(folder)}})


@asynccontextmanager
async def opened(folder: Path, clock: Clock) -> AsyncIterator[Ports]:
    settings = settings_of(folder)
    ports = await open_ports(settings, clock=clock)
    try:
        yield ports
    finally:
        await close_ports(ports, settings)


@asynccontextmanager
async def running(ports: Ports, folder: Path, schedules: Sequence[Schedule]) -> AsyncIterator[ServerMetrics]:
    metrics = ServerMetrics()
    scheduler = Scheduler(ports, settings_of(folder), schedules, metrics, Always())
    try:
        yield metrics
    finally:
        await scheduler.stop()
        metrics.close()


async def state_of(ports: Ports, name: str) -> ScheduleState:
    assert ports.schedule_states is not None
    return next(state for state in await ports.schedule_states.list_states() if state.name == name)


async def is_planned(ports: Ports) -> None:
    """Wait until the schedules are recorded."""
    assert ports.schedule_states is not None
    states: list[ScheduleState] = []
    while not states:
        states = await ports.schedule_states.list_states()
        await asyncio.sleep(0.01)


async def test_a_missed_run_takes_place_once_at_the_next_start(tmp_path: Path) -> None:
    """However many due times passed while nothing ran; two schedulers at once run it once."""
    clock, runs = Clock(), Runs()
    schedules = [Schedule("retention", parse_timing("03:00"), runs)]
    async with opened(tmp_path, clock) as ports:
        async with running(ports, tmp_path, schedules):
            await is_planned(ports)
        assert runs.count == 0
        clock.move(3 * 86400)
        async with running(ports, tmp_path, schedules), running(ports, tmp_path, schedules):
            await eventually(lambda: runs.count > 0)
            clock.move(1)
            state = await finished(ports, "retention")
        assert runs.count == 1
        assert (state.outcome, state.detail) == (RunOutcome.DONE, "run 1")
        assert state.due_at == EPOCH + timedelta(days=3, hours=3)


async def finished(ports: Ports, name: str) -> ScheduleState:
    """The state, once the run has ended."""
    found = [await state_of(ports, name)]
    while found[-1].outcome in (RunOutcome.RUNNING, RunOutcome.NEVER):
        await asyncio.sleep(0.01)
        found.append(await state_of(ports, name))
    return found[-1]


async def test_a_failure_is_recorded_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The next run is at the next due time; the metric says that the last one failed."""
    clock, runs = Clock(), Runs()
    runs.failure = OSError("postgresql://user:secret@host is away")
    schedules = [Schedule("retention", parse_timing("every 10 seconds"), runs)]
    async with opened(tmp_path, clock) as ports:
        assert ports.schedule_states is not None
        await ports.schedule_states.plan("retention", "every 10 seconds", clock())
        with caplog.at_level(logging.WARNING):
            async with running(ports, tmp_path, schedules) as metrics:
                state = await finished(ports, "retention")
                assert ports.schedule_states is not None
                await ports.schedule_states.make_due("retention", clock())
                await eventually(lambda: runs.count == 2)
                assert metrics._schedules["failed"].labels("retention")._value.get() == 1
        assert state.outcome is RunOutcome.FAILED
        assert state.due_at == EPOCH + timedelta(seconds=10)
        assert "OSError" in state.detail
        assert "secret" not in state.detail
        assert "schedule failed" in caplog.messages


async def test_a_run_that_died_is_taken_over(tmp_path: Path) -> None:
    """The lease of a process that was killed ends, and its schedule runs again."""
    clock, runs = Clock(), Runs()
    schedules = [Schedule("retention", parse_timing("03:00"), runs)]
    async with opened(tmp_path, clock) as ports:
        assert ports.schedule_states is not None
        await ports.schedule_states.plan("retention", "03:00 UTC", clock())
        await ports.schedule_states.claim("retention", "killed", clock(), clock() + timedelta(seconds=60))
        clock.move(61)
        async with running(ports, tmp_path, schedules):
            await eventually(lambda: runs.count == 1)
            assert (await finished(ports, "retention")).outcome is RunOutcome.DONE


async def test_a_heavy_schedule_is_a_job(tmp_path: Path) -> None:
    """One job, whichever process adds it; the schedule shows that it runs until the job reports."""
    clock, runs = Clock(), Runs()
    schedules = [Schedule("backup", parse_timing("02:00"), runs, is_heavy=True)]
    async with opened(tmp_path, clock) as ports:
        assert ports.schedule_states is not None
        assert ports.job_queue is not None
        await ports.schedule_states.plan("backup", "02:00 UTC", clock())
        async with running(ports, tmp_path, schedules):
            jobs: list[Job] = []
            while not jobs:
                jobs = await ports.job_queue.list_jobs(limit=9)
                await asyncio.sleep(0.01)
        assert [(job.actor, job.sequence_key) for job in jobs] == [("schedules", "schedule backup")]
        assert runs.count == 0


async def test_a_late_schedule_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A job that no worker takes for ten minutes is a line in the log, once, and a metric."""
    clock, runs = Clock(), Runs()
    schedules = [Schedule("backup", parse_timing("02:00"), runs, is_heavy=True)]
    async with opened(tmp_path, clock) as ports:
        assert ports.schedule_states is not None
        assert ports.job_queue is not None
        await ports.schedule_states.plan("backup", "02:00 UTC", EPOCH)
        await ports.schedule_states.claim("backup", "a", EPOCH, EPOCH + timedelta(seconds=60))
        due_at = EPOCH + timedelta(days=1)
        await ports.schedule_states.hand_over("backup", "a", due_at)
        await ports.job_queue.add_jobs([schedule_job("backup", await state_of(ports, "backup"))], EPOCH)
        clock.move(1200)
        with caplog.at_level(logging.WARNING):
            async with running(ports, tmp_path, schedules) as metrics:
                await eventually(lambda: "schedule is late" in caplog.messages)
                assert metrics._schedules["late_seconds"].labels("backup")._value.get() == 1200


async def test_a_run_that_is_due_while_the_last_one_goes_on_is_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that was away for days, or a backup that takes longer than a day, gets one job, not one for each day."""
    clock, runs = Clock(), Runs()
    schedules = [Schedule("backup", parse_timing("02:00"), runs, is_heavy=True)]
    async with opened(tmp_path, clock) as ports:
        assert ports.schedule_states is not None
        assert ports.job_queue is not None
        await ports.schedule_states.plan("backup", "02:00 UTC", clock())
        with caplog.at_level(logging.WARNING):
            for days in range(1, 4):
                async with running(ports, tmp_path, schedules):
                    await is_due(ports, "backup", EPOCH + timedelta(days=days - 1, hours=2))
                clock.move(86400)
        assert len(await ports.job_queue.list_jobs(limit=9)) == 1
        state = await state_of(ports, "backup")
        assert (state.outcome, state.started_at) == (RunOutcome.RUNNING, EPOCH)
        assert caplog.messages.count("schedule skipped: its last run has not ended") == 2


async def is_due(ports: Ports, name: str, due_at: datetime) -> None:
    """Wait until the schedule is due then."""
    found = await state_of(ports, name)
    while found.due_at != due_at:
        await asyncio.sleep(0.01)
        found = await state_of(ports, name)


async def test_a_job_that_ended_without_a_result_is_a_failure(tmp_path: Path) -> None:
    """A worker that is killed by its run reports nothing, and an operator may delete a job."""
    clock, runs = Clock(), Runs()
    schedules = [Schedule("backup", parse_timing("02:00"), runs, is_heavy=True)]
    async with opened(tmp_path, clock) as ports:
        assert ports.schedule_states is not None
        assert ports.job_queue is not None
        await ports.schedule_states.plan("backup", "02:00 UTC", clock())
        async with running(ports, tmp_path, schedules):
            await is_due(ports, "backup", EPOCH + timedelta(hours=2))
        assert (await state_of(ports, "backup")).outcome is RunOutcome.RUNNING
        [job] = await ports.job_queue.list_jobs(limit=9)
        assert await ports.job_queue.delete_job(job.id)
        async with running(ports, tmp_path, schedules):
            state = await finished(ports, "backup")
        assert (state.outcome, state.started_at) == (RunOutcome.FAILED, EPOCH)
        assert "without a result" in state.detail


async def test_a_result_stays_when_a_run_is_taken_over(tmp_path: Path) -> None:
    """The process that added the job has died before it ended its lease; the job has ended meanwhile."""
    clock, runs = Clock(), Runs()
    schedules = [Schedule("backup", parse_timing("02:00"), runs, is_heavy=True)]
    async with opened(tmp_path, clock) as ports:
        assert ports.schedule_states is not None
        assert ports.job_queue is not None
        await ports.schedule_states.plan("backup", "02:00 UTC", EPOCH)
        before = await ports.schedule_states.claim("backup", "killed", EPOCH, EPOCH + timedelta(seconds=60))
        assert before is not None
        await ports.job_queue.add_jobs([schedule_job("backup", before)], EPOCH)
        [job] = await ports.job_queue.claim(EPOCH, EPOCH + timedelta(seconds=60), 1)
        await ports.schedule_states.report("backup", RunOutcome.DONE, "fine", EPOCH, EPOCH)
        await ports.job_queue.complete(job, EPOCH)
        clock.move(61)
        async with running(ports, tmp_path, schedules):
            await is_due(ports, "backup", EPOCH + timedelta(hours=2))
        state = await state_of(ports, "backup")
        assert (state.outcome, state.detail, state.ended_at) == (RunOutcome.DONE, "fine", EPOCH)
        assert len(await ports.job_queue.list_jobs(limit=9)) == 1


async def test_a_clock_that_is_set_back_delays_no_schedule(tmp_path: Path) -> None:
    """What ran by the clock before is due again by the clock as it is now, not days later."""
    clock, runs = Clock(), Runs()
    schedules = [Schedule("seal_audit", parse_timing("every 1 minute"), runs)]
    async with opened(tmp_path, clock) as ports:
        clock.move(30 * 86400)
        async with running(ports, tmp_path, schedules):
            await is_planned(ports)
            clock.move(60)
            await eventually(lambda: runs.count == 1)
            await finished(ports, "seal_audit")
        clock.move(-20 * 86400)
        async with running(ports, tmp_path, schedules):
            await is_due(ports, "seal_audit", clock() + timedelta(seconds=60))
            clock.move(60)
            await eventually(lambda: runs.count == 2)


async def test_a_lease_from_before_the_clock_was_set_back_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its holder was killed, and by the new clock its lease lasts for a day: it ends after less than a minute."""
    monkeypatch.setattr(scheduler, "_RENEW_SECONDS", 0.05)
    clock, runs = Clock(), Runs()
    schedules = [Schedule("seal_audit", parse_timing("every 1 minute"), runs)]
    async with opened(tmp_path, clock) as ports:
        assert ports.schedule_states is not None
        await ports.schedule_states.plan("seal_audit", "every 1 minute", EPOCH)
        until = EPOCH + timedelta(days=1)
        assert await ports.schedule_states.claim("seal_audit", "killed", EPOCH, until) is not None
        async with running(ports, tmp_path, schedules):
            await eventually(lambda: runs.count == 1)
