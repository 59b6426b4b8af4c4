"""Returns the memory of many connections to the system after they have closed.

The interpreter keeps lists of freed objects, and glibc keeps freed memory between blocks in use. After 2,000 slow
uploads both together kept two fifths of what the uploads had taken.
"""

from __future__ import annotations

import asyncio
import gc

from tusd_py.serving import tuning
from tusd_py.threads import cpu_threads

#: Fewer connections than this leave too little memory behind.
_CLOSED_MIN = 100
#: What the connections were doing, such as saving a part of an upload, ends within this time.
_SETTLE_SECONDS = 3.0
#: A release takes about 10 ms of the event loop: clients that connect and disconnect must not cause more of them.
_INTERVAL_SECONDS = 10.0
#: The caller goes on after this time: the threads may be busy.
_WAIT_SECONDS = 1.0


class MemoryRelease:
    """Counts the connections now and then; when more than half of many have closed, memory is released."""

    def __init__(self) -> None:
        self._most = 0
        self._due_at: float | None = None
        self._not_before = 0.0

    def is_due(self, connections: int, now: float) -> bool:
        """Whether to release memory now. Call it often, with the number of open connections and the time."""
        self._most = max(self._most, connections)
        if self._most - connections < max(_CLOSED_MIN, connections):
            self._due_at = None
            return False
        if self._due_at is None:
            self._due_at = max(now + _SETTLE_SECONDS, self._not_before)
        if now < self._due_at:
            return False
        self._most, self._due_at, self._not_before = connections, None, now + _INTERVAL_SECONDS
        return True


async def release_memory() -> None:
    """Return what can be returned; wait for it a second at most.

    The objects that were there at the start are not looked at (``tuning``).
    """
    gc.collect()
    trimming = asyncio.get_running_loop().run_in_executor(cpu_threads, tuning.trim)
    await asyncio.wait([trimming], timeout=_WAIT_SECONDS)
