"""The actor of heavy schedules, such as backups and reconciliations."""

from __future__ import annotations

from tusd_py.model.schedules import RunOutcome
from tusd_py.schedules import enabled_schedules
from tusd_py.settings import without_credentials

from ..actor import GiveUp, JobContext


async def schedules(context: JobContext) -> None:
    """Run the schedule of a job once, and record what became of it; a failure is retried like that of any job."""
    name = context.job.sequence_key.partition(" ")[2]
    states, clock = context.ports.schedule_states, context.ports.clock
    assert states is not None, "jobs exist only in a database"
    schedule = next((each for each in enabled_schedules(context.settings) if each.name == name), None)
    if schedule is None:
        raise GiveUp(f"the schedule {name} is switched off")
    started_at = clock()
    await states.report(name, RunOutcome.RUNNING, f"attempt {context.job.attempt}", started_at, started_at)
    try:
        detail = await schedule.run(context.ports, context.settings)
    except Exception as error:
        reason = without_credentials(f"{type(error).__name__}: {error}")
        await states.report(name, RunOutcome.FAILED, reason, started_at, clock())
        raise
    await states.report(name, RunOutcome.DONE, detail, started_at, clock())
