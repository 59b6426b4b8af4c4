"""``StoreVerification``: whether a store is the one of the records, found out before it is used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.store import StoreUnavailable


class StoreVerification:
    """Runs ``verify`` until it has succeeded once. Callers that wait for the same run share its failure.

    ``verify`` returns the mark of the store, ``read_mark`` the one that it has at another time.
    """

    def __init__(self, verify: Callable[[], Awaitable[str]], read_mark: Callable[[], Awaitable[str]]) -> None:
        self._verify = verify
        self._read_mark = read_mark
        self._mark = ""
        self._running: asyncio.Task[None] | None = None

    @property
    def is_passed(self) -> bool:
        """Whether the store may be used."""
        return bool(self._mark)

    async def run(self) -> None:
        """Run it, or wait for the one that runs. Raises ``StoreError``."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._check())
            # Its failure is that of the callers; there may be none left.
            self._running.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._running)

    async def renew(self) -> None:
        """Run it again if the store has another mark by now, or none: its volume may be gone. Raises ``StoreError``."""
        if self._mark and await self._read_mark() == self._mark:
            return
        self._mark = ""
        await self.run()

    def cancel(self) -> None:
        """Stop what runs: the store is being closed."""
        if self._running is not None:
            self._running.cancel()

    async def _check(self) -> None:
        try:
            self._mark = await self._verify()
        except RecordsError as error:
            raise StoreUnavailable(f"whether this is the right store is unknown: {error}") from None
