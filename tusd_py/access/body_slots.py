"""Limits how many uploads of one owner receive bytes at once, in one process."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tusd_py.protocol.access_errors import TooManyBodies

#: Requests of one subject that may wait; each is a task and a connection.
WAITING_MAX = 100


class BodySlots:
    """Limits the uploads of one subject to which requests append at once; further ones wait up to ``wait_seconds``."""

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
            slots = self._subjects[subject] = _SubjectSlots(self._running_max)
        if slots.users >= self._running_max + WAITING_MAX:
            raise TooManyBodies(self._running_max)
        slots.users += 1
        try:
            if not slots.enter(upload_id):
                await self._wait(slots, upload_id)
            try:
                yield
            finally:
                slots.leave(upload_id)
        finally:
            slots.users -= 1
            if not slots.users:
                del self._subjects[subject]

    async def _wait(self, slots: _SubjectSlots, upload_id: str) -> None:
        """Wait until the request has entered. Raises ``TooManyBodies`` after ``wait_seconds``."""
        entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (upload_id, entered)
        slots.waiting.append(waiter)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await entered
        except BaseException as error:
            if waiter in slots.waiting:
                slots.waiting.remove(waiter)
            else:
                slots.leave(upload_id)  # it was let in at the same moment
            if isinstance(error, TimeoutError):
                raise TooManyBodies(self._running_max) from None
            raise


class _SubjectSlots:
    """The slots of one subject, and the requests that wait for one, in their order."""

    def __init__(self, free: int) -> None:
        self.users = 0  # that hold a slot or wait for one
        self.waiting: deque[tuple[str, asyncio.Future[None]]] = deque()
        self._free = free
        self._holders: Counter[str] = Counter()  # requests that have entered, by upload

    def enter(self, upload_id: str) -> bool:
        """Admit a request if it shares the slot of its upload, or if a slot is free and no other request waits."""
        shares = bool(upload_id) and self._holders[upload_id] > 0
        if not shares:
            if not self._free or self.waiting:
                return False
            self._free -= 1
        self._holders[upload_id] += 1
        return True

    def leave(self, upload_id: str) -> None:
        """Release a request that was admitted, and admit others if that frees a slot."""
        self._holders[upload_id] -= 1
        is_last = not self._holders[upload_id]
        if is_last:
            del self._holders[upload_id]
        if is_last or not upload_id:
            self._free += 1
            self._admit()

    def _admit(self) -> None:
        while self._free and self.waiting:
            first, _ = self.waiting[0]
            self._free -= 1
            # With the first one all others for its upload: they take it over from each other.
            together = [waiter for waiter in self.waiting if first and waiter[0] == first] or [self.waiting[0]]
            for waiter in together:
                self.waiting.remove(waiter)
                self._holders[first] += 1
                if not waiter[1].done():
                    waiter[1].set_result(None)
