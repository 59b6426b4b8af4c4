"""Work that goes on after an answer was sent: hooks that are told, uploads that are joined. Awaited at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Background:
    """Runs coroutines beside the requests; those with the same key run one after the other, in the order they came."""

    def __init__(self) -> None:
        self._last: dict[str, asyncio.Task[None]] = {}
        self._queued: set[str] = set()  # keys of spawn_once whose work has not begun, while other work runs
        self._running: set[asyncio.Task[None]] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._last

    def spawn(self, key: str, work: Coroutine[Any, Any, object]) -> None:
        """Run ``work`` after whatever was spawned before with this key. What it raises is logged, never lost."""
        task = asyncio.ensure_future(self._run(key, self._last.get(key), work))
        self._last[key] = task
        self._running.add(task)

        def end(task: asyncio.Task[None]) -> None:
            # Here and not in the task: one that is cancelled before its first step never gets so far.
            self._running.discard(task)
            work.close()
            if self._last.get(key) is task:
                del self._last[key]

        task.add_done_callback(end)

    def spawn_once(self, key: str, make: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Run what ``make`` gives: now, or once more after what runs with this key, however often this is called."""
        if key in self._queued:
            return
        if key in self._last:
            self._queued.add(key)
        self.spawn(key, self._dequeued(key, make))

    async def _dequeued(self, key: str, make: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self._queued.discard(key)
        await make()

    async def after(self, key: str) -> None:
        """Return once everything spawned so far with this key has ended."""
        if (last := self._last.get(key)) is not None:
            await asyncio.wait([last])

    async def _run(self, key: str, before: asyncio.Task[None] | None, work: Coroutine[Any, Any, object]) -> None:
        try:
            if before is not None:
                await asyncio.wait([before])
            await work
        except Exception:
            # The outermost handler of this task: nobody awaits it, and its upload's record tells what is undone.
            log.exception("background work for upload %s failed", key)

    async def drain(self, timeout_seconds: float) -> None:
        """Wait for what is running, at most so long; then cancel the rest. A restart takes up what was cut."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_seconds
        # Work brings about more work: a part completes, its final is joined, a hook is told of that.
        while self._running and (left := deadline - clock()) > 0:
            await asyncio.wait(self._running, timeout=left)
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.gather(*self._running, return_exceptions=True)
