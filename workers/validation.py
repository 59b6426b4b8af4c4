"""The actor of the step ``validation``: has an upload examined, and says when that has to wait."""

from __future__ import annotations

from tusd_py.contracts.examiner import CannotExamine
from tusd_py.contracts.store import StoreError
from tusd_py.uploads.validate import validate

from .tasks import Again, Task


async def validation(task: Task) -> None:
    """Examine one upload. Raises ``Again`` where a tool or the store cannot be had: never a verdict for that."""
    try:
        await validate(task.ports, task.job)
    except (CannotExamine, StoreError) as trouble:
        raise Again(str(trouble)) from trouble
