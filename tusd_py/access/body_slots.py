"""How many uploads of one owner receive bytes at once, in one process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tusd_py.protocol.access_errors import TooManyBodies

#: Requests of one subject that may wait; each is a task and a connection.
WAITING_MAX = 100


class BodySlots:
    """Bounds at how many uploads of one subject requests append at once. More of them wait for ``wait_seconds``."""

    def __init__(self, running_max: int, wait_seconds: float) -> None:
        self._running_max = running_max
        self._wait_seconds = wait_seconds
        self._subjects: dict[str, _SubjectSlots] = {}

    @asynccontextmanager
    async def acquired(self, subject: str, upload_id: str = "") -> AsyncIterator[None]:
        """Hold a slot for the block. Raises ``TooManyBodies`` if none is free in time, or too many wait already.

        A further request for the same upload needs no slot of its own: it takes the upload over from the earlier one,
        whose client may be gone. A request without an id, for a new upload, needs one.
        """
        slots = self._subjects.get(subject)
        if slots is None:
            slots = self._subjects[subject] = _SubjectSlots(asyncio.Semaphore(self._running_max))
        if slots.users >= self._running_max + WAITING_MAX:
            raise TooManyBodies(self._running_max)
        slots.users += 1
        try:
            shares = bool(upload_id) and slots.holders[upload_id] > 0
            if not shares:
                await self._wait(slots)
                if upload_id and slots.holders[upload_id] > 0:
                    # Another request for this upload has waited as well, and got its slot first.
                    slots.semaphore.release()
            slots.holders[upload_id] += 1
            try:
                yield
            finally:
                slots.holders[upload_id] -= 1
                if not upload_id or not slots.holders[upload_id]:
                    slots.semaphore.release()
                if not slots.holders[upload_id]:
                    del slots.holders[upload_id]
        finally:
            slots.users -= 1
            if not slots.users:
                del self._subjects[subject]

    async def _wait(self, slots: _SubjectSlots) -> None:
        try:
            async with asyncio.timeout(self._wait_seconds):
                await slots.semaphore.acquire()
        except TimeoutError:
            raise TooManyBodies(self._running_max) from None


@dataclass(slots=True)
class _SubjectSlots:
    semaphore: asyncio.Semaphore
    users: int = 0  # that hold a slot or wait for one
    holders: Counter[str] = field(default_factory=Counter)  # requests by upload, of those that hold slots
