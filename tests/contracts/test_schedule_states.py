"""The states of schedules in each database: one run among many processes, leases, takeover, results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from tusd_py.model.audit import AuditEntry, AuditFilter, AuditKind
from tusd_py.model.schedules import RunOutcome, ScheduleState
from tusd_py.records.sql.database import SqlDatabase

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SqlDatabase]:
    database = await SqlDatabase.open(url)
    try:
        yield database
    finally:
        await database.close()


async def only(database: SqlDatabase) -> ScheduleState:
    (state,) = await database.schedule_states.list_states()
    return state


async def test_a_new_schedule_waits_for_its_time(url: str) -> None:
    """Planning it again changes nothing, but another timing makes it due as the new one says."""
    async with opened(url) as database:
        states = database.schedule_states
        await states.plan("backup", "02:00 UTC", NOW + DAY)
        await states.plan("backup", "02:00 UTC", NOW + 2 * DAY)
        assert (await only(database)).due_at == NOW + DAY
        assert await states.claim("backup", "a", NOW, NOW + MINUTE) is None
        await states.plan("backup", "03:00 UTC", NOW + MINUTE)
        state = await only(database)
        assert (state.timing, state.due_at, state.outcome) == ("03:00 UTC", NOW + MINUTE, RunOutcome.NEVER)


async def test_many_processes_claim_once(url: str) -> None:
    """Of twenty claims over four connections one gets the schedule."""
    async with opened(url) as one, opened(url) as two, opened(url) as three, opened(url) as four:
        await one.schedule_states.plan("backup", "02:00 UTC", NOW)
        claims = [
            database.schedule_states.claim("backup", f"holder {number}", NOW, NOW + MINUTE)
            for number, database in enumerate((one, two, three, four) * 5)
        ]
        assert sum(found is not None for found in await asyncio.gather(*claims)) == 1
        assert (await only(one)).outcome is RunOutcome.RUNNING


async def test_a_run_that_dies_is_taken_over(url: str) -> None:
    """When its lease ends the schedule is claimed by another, and the first can neither renew nor finish."""
    async with opened(url) as database:
        states = database.schedule_states
        await states.plan("backup", "02:00 UTC", NOW)
        assert await states.claim("backup", "first", NOW, NOW + MINUTE) is not None
        assert await states.renew("backup", "first", NOW + 2 * MINUTE)
        assert await states.claim("backup", "second", NOW + MINUTE, NOW + 3 * MINUTE) is None
        before = await states.claim("backup", "second", NOW + 2 * MINUTE, NOW + 3 * MINUTE)
        assert before is not None
        assert before.holder == "first"
        assert not await states.renew("backup", "first", NOW + DAY)
        assert not await states.finish("backup", "first", RunOutcome.DONE, "", NOW, NOW + DAY)
        assert await states.finish("backup", "second", RunOutcome.DONE, "fine", NOW + 3 * MINUTE, NOW + DAY)
        state = await only(database)
        assert (state.outcome, state.detail, state.due_at, state.holder) == (RunOutcome.DONE, "fine", NOW + DAY, "")
        assert (state.started_at, state.ended_at) == (NOW + 2 * MINUTE, NOW + 3 * MINUTE)


async def test_a_due_time_is_moved_once(url: str) -> None:
    """Whoever has seen another due time changes nothing; the result of the last run stays."""
    async with opened(url) as database:
        states = database.schedule_states
        await states.plan("backup", "02:00 UTC", NOW)
        await states.report("backup", RunOutcome.DONE, "fine", NOW, NOW)
        assert await states.postpone("backup", NOW, NOW + DAY)
        assert not await states.postpone("backup", NOW, NOW + 2 * DAY)
        state = await only(database)
        assert (state.due_at, state.outcome, state.detail) == (NOW + DAY, RunOutcome.DONE, "fine")


async def test_a_job_that_is_quick_keeps_its_result(url: str) -> None:
    """A job may end before its run is handed over to it: that leaves the result as it is."""
    async with opened(url) as database:
        states = database.schedule_states
        await states.plan("backup", "02:00 UTC", NOW)
        await states.claim("backup", "a", NOW, NOW + MINUTE)
        await states.report("backup", RunOutcome.DONE, "fine", NOW, NOW)
        assert not await states.hand_over("backup", "b", NOW + DAY)
        assert await states.hand_over("backup", "a", NOW + DAY)
        state = await only(database)
        assert (state.due_at, state.outcome, state.detail, state.holder) == (NOW + DAY, RunOutcome.DONE, "fine", "")


async def test_a_job_reports_its_result(url: str) -> None:
    """The claim ends at once; the job reports failure and success later."""
    async with opened(url) as database:
        states = database.schedule_states
        await states.plan("backup", "02:00 UTC", NOW)
        await states.claim("backup", "a", NOW, NOW + MINUTE)
        await states.hand_over("backup", "a", NOW + DAY)
        assert (await only(database)).outcome is RunOutcome.RUNNING
        assert (await only(database)).ended_at is None
        await states.report("backup", RunOutcome.FAILED, "disk full\0 \ud800", NOW, NOW + MINUTE)
        state = await only(database)
        assert (state.outcome, state.ended_at, state.due_at) == (RunOutcome.FAILED, NOW + MINUTE, NOW + DAY)
        assert state.detail.startswith("disk full")


async def test_an_operator_makes_it_due(url: str) -> None:
    """The change and its audit entry are one; an unknown name is False and leaves no entry."""
    entry = AuditEntry(
        at=NOW, subject="root", method="command", verb="run", kind=AuditKind.SCHEDULE, object_id="backup"
    )
    async with opened(url) as database:
        states = database.schedule_states
        await states.plan("backup", "02:00 UTC", NOW + DAY)
        assert await states.make_due("backup", NOW, [entry])
        assert (await only(database)).due_at == NOW
        assert not await states.make_due("nothing", NOW, [entry])
        assert len(await database.audit_log.list_entries(AuditFilter(), limit=9)) == 1
