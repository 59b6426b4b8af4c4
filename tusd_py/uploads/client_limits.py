"""Limits for each client, counted in the memory of one process: concatenations at once, and empty uploads.

A client is an address (``Caller.client``). A restart forgets the counts; the memory for them is bounded.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tusd_py.protocol.concat_errors import TooManyConcatenations
from tusd_py.protocol.errors import TooManyEmptyUploads

#: Concatenations of one client that may wait for a slot; each is a task and a record.
WAITING_MAX = 100
#: Ids remembered for all clients together, about 7 MB. Above it the client that was idle longest is forgotten.
REMEMBERED_MAX = 200_000
#: Ids in one query; other reads can run between two queries.
_QUERY_IDS = 1000
#: The time between two checks of a client that is near its limit.
_CHECK_SECONDS = 5.0

#: Returns those of the ids that still have no byte.
FindEmpty = Callable[[Collection[str]], Awaitable[Collection[str]]]


class ConcatenationSlots:
    """Bounds how many concatenations of one client run at once; more of them wait, up to ``WAITING_MAX``."""

    def __init__(self, running_max: int) -> None:
        self._running_max = running_max
        self._clients: dict[str, _Slots] = {}

    def ensure_available(self, client: str) -> None:
        """Raise ``TooManyConcatenations`` if no more concatenations of ``client`` may wait."""
        slots = self._clients.get(client)
        if slots is not None and slots.users >= self._running_max + WAITING_MAX:
            raise TooManyConcatenations

    @asynccontextmanager
    async def acquired(self, client: str, wait_seconds: float | None) -> AsyncIterator[None]:
        """Hold a slot for the block. Raises ``TooManyConcatenations`` if none is free after ``wait_seconds``."""
        slots = self._clients.get(client)
        if slots is None:
            slots = self._clients[client] = _Slots(asyncio.Semaphore(self._running_max))
        slots.users += 1
        try:
            try:
                async with asyncio.timeout(wait_seconds):
                    await slots.semaphore.acquire()
            except TimeoutError:
                raise TooManyConcatenations from None
            try:
                yield
            finally:
                slots.semaphore.release()
        finally:
            slots.users -= 1
            if not slots.users:
                del self._clients[client]


@dataclass(slots=True)
class _Slots:
    semaphore: asyncio.Semaphore
    users: int = 0  # that hold a slot or wait for one


class EmptyUploads:
    """Bounds how many unfinished uploads without a byte one client has, of those created by this process.

    Only creations are counted, which is cheap. When a client reaches the limit, the records show which of its uploads
    are still empty.
    """

    def __init__(self, uploads_max: int) -> None:
        self._uploads_max = uploads_max  # of one client; 0 is no limit
        self._clients: OrderedDict[str, _Created] = OrderedDict()  # the longest idle first
        self._remembered = 0

    def add(self, client: str, upload_id: str) -> None:
        """Count an upload that ``client`` has created without a byte."""
        if not client or not self._uploads_max:
            return
        created = self._clients.get(client)
        if created is None:
            created = self._clients[client] = _Created()
        else:
            self._clients.move_to_end(client)
        created.add(upload_id)
        self._remembered += 1
        while self._remembered > REMEMBERED_MAX and len(self._clients) > 1:
            _, forgotten = self._clients.popitem(last=False)
            self._remembered -= forgotten.count

    def is_far_from_limit(self, client: str) -> bool:
        """Whether ``ensure_allowed`` would not raise, and has nothing to look up."""
        created = self._clients.get(client)
        return created is None or created.count < self._uploads_max

    async def ensure_allowed(self, client: str, find_empty: FindEmpty) -> None:
        """Raise ``TooManyEmptyUploads`` if ``client`` may create no more empty uploads."""
        created = self._clients.get(client)
        if created is None or created.count < self._uploads_max:
            return
        now = asyncio.get_running_loop().time()
        async with created.checking:
            # Another request may have checked meanwhile. Far below the limit a check is never too early.
            if created.count >= self._uploads_max and (created.is_far_below_limit or now >= created.next_check_at):
                await self._check(created, find_empty)
                created.next_check_at = now + _CHECK_SECONDS
        if created.count >= self._uploads_max:
            raise TooManyEmptyUploads

    async def _check(self, created: _Created, find_empty: FindEmpty) -> None:
        """Forget the uploads of a client that are no longer empty."""
        checked = created.ids()
        empty: set[str] = set()
        for start in range(0, len(checked), _QUERY_IDS):
            empty.update(await find_empty(checked[start : start + _QUERY_IDS]))
        # Requests that ran meanwhile may have added some.
        left = [upload_id for upload_id in checked if upload_id in empty] + created.ids()[len(checked) :]
        self._remembered -= created.count - len(left)
        created.replace(left)
        created.is_far_below_limit = len(left) <= self._uploads_max * 3 // 4


@dataclass(slots=True)
class _Created:
    """The uploads that one client has created without a byte.

    Their ids are one block of memory. A string of its own for each would lie between those of the requests and keep
    the memory that a flood of requests took from being returned.
    """

    count: int = 0
    lines: bytearray = field(default_factory=bytearray)
    checking: asyncio.Lock = field(default_factory=asyncio.Lock)
    next_check_at: float = 0.0
    #: Whether the last check found at most three quarters of the limit: the next one need not wait.
    is_far_below_limit: bool = True

    def add(self, upload_id: str) -> None:
        self.lines += upload_id.encode() + b"\n"
        self.count += 1

    def ids(self) -> list[str]:
        return self.lines.decode().split("\n")[:-1]

    def replace(self, ids: Sequence[str]) -> None:
        self.lines = bytearray("".join(f"{upload_id}\n" for upload_id in ids).encode())
        self.count = len(ids)
