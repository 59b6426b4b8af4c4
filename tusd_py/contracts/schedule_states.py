"""The contract of schedule states, by which each run takes place once among all processes and machines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from tusd_py.model.audit import AuditEntry
from tusd_py.model.schedules import RunOutcome, ScheduleState


class ScheduleStates(Protocol):
    """Keeps the state of each schedule by name. All times are arguments, by a clock that all processes share."""

    async def plan(self, name: str, timing: str, due_at: datetime) -> None:
        """Make the schedule due at ``due_at``, if it is new or had another timing; else leave it as it is."""
        ...

    async def list_states(self) -> list[ScheduleState]:
        """All recorded schedules, by name."""
        ...

    async def claim(self, name: str, holder: str, now: datetime, until: datetime) -> ScheduleState | None:
        """Lease a due schedule to ``holder``, and record the start of its run; return the state before that.

        ``None`` if it is not due, or another process runs it. One caller only gets a state.
        """
        ...

    async def renew(self, name: str, holder: str, until: datetime) -> bool:
        """Extend the lease; False if ``holder`` has lost it."""
        ...

    async def postpone(self, name: str, due_at: datetime, new_due_at: datetime) -> bool:
        """Make a schedule that is due at ``due_at`` due at ``new_due_at`` instead; False if it is not due then."""
        ...

    async def hand_over(self, name: str, holder: str, due_at: datetime) -> bool:
        """End the lease of a run with which a job goes on (see ``report``); False if ``holder`` has lost it."""
        ...

    async def finish(
        self, name: str, holder: str, outcome: RunOutcome, detail: str, now: datetime, due_at: datetime
    ) -> bool:
        """Record the result of a run and when the next one is due; False if ``holder`` has lost the lease."""
        ...

    async def report(self, name: str, outcome: RunOutcome, detail: str, started_at: datetime, now: datetime) -> None:
        """Record the start (``RUNNING``) or the result of a run that a job makes."""
        ...

    async def make_due(self, name: str, now: datetime, audit: Sequence[AuditEntry] = ()) -> bool:
        """Make a schedule due now; False if there is none of this name. ``audit`` is written with the change."""
        ...
