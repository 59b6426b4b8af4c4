"""The actor of the step ``publishing``: has an upload published, and says when that has to wait."""

from __future__ import annotations

from tusd_py.contracts.publisher import CannotPublish
from tusd_py.contracts.store import StoreError
from tusd_py.uploads.publish import publish

from .tasks import Again, Task


async def publishing(task: Task) -> None:
    """Publish one upload. Raises ``Again`` where the directory or the store would not have it now."""
    try:
        await publish(task.ports, task.job)
    except (CannotPublish, StoreError) as trouble:
        raise Again(str(trouble)) from trouble
