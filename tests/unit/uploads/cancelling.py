"""Cancels a coroutine at exactly its n-th suspension, so that a test can try them all."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any


class Stepping:
    """Awaits ``work`` and cancels the running task when it suspends for the ``nth`` time."""

    def __init__(self, work: Coroutine[Any, Any, object], nth: int) -> None:
        self._work = work
        self._nth = nth
        self.suspensions = 0

    def run(self) -> asyncio.Task[None]:
        async def drive() -> None:
            await self._drive()

        return asyncio.ensure_future(drive())

    @types.coroutine
    def _drive(self) -> Generator[Any, Any, None]:
        failure: BaseException | None = None
        while True:
            try:
                awaited = self._work.send(None) if failure is None else self._work.throw(failure)
            except StopIteration:
                return
            self.suspensions += 1
            if self.suspensions == self._nth:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            failure = None
            try:
                yield awaited
            except BaseException as caught:  # noqa: BLE001 - handed on to the work, whatever it is
                failure = caught


async def cancel_at(work: Coroutine[Any, Any, object], nth: int) -> bool:
    """Run ``work``, cancelled at its ``nth`` suspension; False when it had fewer and ran to its end."""
    stepping = Stepping(work, nth)
    task = stepping.run()
    await asyncio.wait([task])
    if task.cancelled():
        return True
    if (failure := task.exception()) is not None:
        raise failure
    return stepping.suspensions >= nth
