"""The actor that joins final uploads which are too large to keep a client waiting, or whose parts came later."""

from __future__ import annotations

from tusd_py.contracts.gate import GateFailed
from tusd_py.contracts.store import StoreError
from tusd_py.uploads.assemble import JoinedElsewhere, assemble

from .tasks import Again, Task


async def assembly(task: Task) -> None:
    """Join one final upload. Raises ``Again`` where the disk is full or out of reach, or a hook does not answer."""
    try:
        await assemble(task.ports, task.job)
    except (StoreError, JoinedElsewhere) as trouble:
        raise Again(str(trouble)) from trouble
    except GateFailed as failure:
        # What a hook said is for the log, not for whoever lists jobs.
        raise Again("pre-finish failed; it is asked again") from failure
