"""The actor of the step ``validation``: has an upload examined, and says when that has to wait."""

from __future__ import annotations

from tusd_py.contracts.store import StoreError
from tusd_py.contracts.validator import ValidatorUnavailable
from tusd_py.uploads.processing.validate import validate
from workers.actor import Again, Task


async def validation(task: Task) -> None:
    """Examine one upload. Raises ``Again`` where a tool or the store cannot be had: never a verdict for that."""
    try:
        await validate(task.ports, task.job)
    except (ValidatorUnavailable, StoreError) as trouble:
        raise Again(str(trouble)) from trouble
