"""What an actor is given, and the two ways in which it may fail on purpose. Its work stands in a file of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tusd_py.model.jobs import Job
from tusd_py.settings import Settings
from tusd_py.uploads.ports import Ports


class Again(Exception):
    """The job cannot be done now: it is given out again ``after_seconds``; ``None`` leaves that to the relay.

    ``reason`` is kept with the job and shown to people: no secrets in it.
    """

    def __init__(self, reason: str, after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_seconds = after_seconds


class Dead(Exception):
    """The job can never be done: it is kept, with ``reason``, for a person to look at."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt at a job. The relay keeps its lease while the actor runs.

    An actor returns after its effect. Where the effect was a change of the record it was saved with
    ``Change(ends=task.job)``, so the job has ended with it; any other job is ended by the relay, and its actor may be
    asked for the same effect again after a crash. Every exception but ``Dead`` has the job tried again.
    """

    job: Job
    ports: Ports
    settings: Settings
    keep: Callable[[], Awaitable[None]]

    async def renew(self) -> None:
        """Keep the lease from now on for its whole length. Raises ``LeaseLost``: then nothing more must be done."""
        await self.keep()


Actor = Callable[[Task], Awaitable[None]]
