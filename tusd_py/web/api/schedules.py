"""``/api/schedules``: recurring work, and running it now."""

from __future__ import annotations

from tusd_py.contracts.schedule_states import ScheduleStates
from tusd_py.model.audit import AuditKind
from tusd_py.model.principal import Verb
from tusd_py.model.schedules import ScheduleState
from tusd_py.views import schedule_view
from tusd_py.web.api.call import ApiRoute, Call, available
from tusd_py.web.api.problems import ApiError


async def list_schedules(call: Call) -> object:
    return {"schedules": [schedule_view(state) for state in await _states_of_enabled(call)]}


async def run_schedule(call: Call) -> object:
    """Make a schedule due; the process that does the maintenance begins it within some seconds."""
    name = call.path("name")
    states = _states(call)
    audit = call.audit("run", AuditKind.SCHEDULE, name)
    is_on = name in call.context.schedules
    if not is_on or not await states.make_due(name, call.ports.clock(), audit):
        raise ApiError(404, "no schedule has this name, or what it does is switched off")
    return next(schedule_view(state) for state in await states.list_states() if state.name == name)


async def _states_of_enabled(call: Call) -> list[ScheduleState]:
    """The states of the schedules that are enabled now; the database also has those that were enabled before."""
    return [state for state in await _states(call).list_states() if state.name in call.context.schedules]


def _states(call: Call) -> ScheduleStates:
    return available(call.ports.schedule_states, "records are kept in memory; schedules need a database (records.url)")


ROUTES = (
    ApiRoute("GET", "/api/schedules", list_schedules, Verb.OBSERVE),
    ApiRoute("POST", "/api/schedules/{name}/run", run_schedule, Verb.OPERATE),
)
