"""Work that continues after a response was sent, such as invoking hooks or assembling final uploads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any

log = logging.getLogger(__name__)

#: How often ``drain`` looks whether work in callbacks has ended: it takes milliseconds, and nothing reports its end.
_CALLBACKS_SECONDS = 0.005


class TaskKind(StrEnum):
    """The kinds of background work. Also names locks that are not those of an upload itself."""

    HOOKS = "hooks"  # hooks that no request waits for, in order
    FINISH = "finish"  # post-finish, and the upload handed to workers after it
    ASSEMBLE = "assemble"  # concatenation of a final upload; also the lock that a process holds during it
    WAKE_FINALS = "wake-finals"  # final uploads that wait for a partial upload
    DISCARD = "discard"  # the bytes of a creation that failed
    DELETE_PARTS = "delete-parts"
    FINALIZE = "finalize"  # the lock of a request that finalises or deletes a session
    CHUNK = "chunk"  # the lock of a request that puts a chunk in the place of another one
    RECOVER = "recover"
    SWEEPER = "sweeper"  # the lock of the process that runs the periodic tasks


def task_key(kind: TaskKind, upload_id: str = "") -> str:
    """The key of one kind of work for one upload. Upload ids contain no dot, so no key equals an id."""
    return f"{upload_id}.{kind}"


class Background:
    """Runs coroutines beside the requests. Those with the same key run one after the other, in order."""

    def __init__(self) -> None:
        self._last: dict[str, asyncio.Task[None]] = {}
        self._queued: set[str] = set()  # keys of spawn_once whose work waits for other work to end
        self._running: set[asyncio.Task[None]] = set()
        self._in_callbacks = 0

    def __contains__(self, key: str) -> bool:
        return key in self._last

    def begin(self) -> None:
        """Note that work without a task has begun, which goes on in callbacks; ``end`` notes its end."""
        self._in_callbacks += 1

    def end(self) -> None:
        """Note the end of work that ``begin`` has noted."""
        self._in_callbacks -= 1

    def spawn(self, key: str, work: Coroutine[Any, Any, object]) -> None:
        """Run ``work`` after all work spawned before with this key. An exception that it raises is logged."""
        task = asyncio.ensure_future(self._run(key, self._last.get(key), work))
        self._last[key] = task
        self._running.add(task)

        def end(task: asyncio.Task[None]) -> None:
            # Here and not in the task: a task that is cancelled before its first step never runs its own clean-up.
            self._running.discard(task)
            work.close()
            if self._last.get(key) is task:
                del self._last[key]

        task.add_done_callback(end)

    def spawn_once(self, key: str, make: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Run the coroutine that ``make`` returns now, or once more after the work that runs with this key.

        Further calls while it waits have no effect.
        """
        if key in self._queued:
            return
        if key in self._last:
            self._queued.add(key)
        self.spawn(key, self._dequeued(key, make))

    async def _dequeued(self, key: str, make: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self._queued.discard(key)
        await make()

    async def after(self, key: str) -> None:
        """Return once all work spawned so far with this key has ended."""
        if (last := self._last.get(key)) is not None:
            await asyncio.wait([last])

    async def _run(self, key: str, before: asyncio.Task[None] | None, work: Coroutine[Any, Any, object]) -> None:
        try:
            if before is not None:
                await asyncio.wait([before])
            await work
        except Exception:
            # The outermost handler of this task: nothing awaits it, and the upload's record shows what is not done.
            log.exception("background work failed: %s", key)

    async def drain(self, timeout_seconds: float) -> None:
        """Wait for running work, then cancel what is left. The next start recovers what was cancelled."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_seconds
        # Work spawns more work: a part completes, its final upload is assembled, and that invokes a hook.
        while (self._running or self._in_callbacks) and (left := deadline - clock()) > 0:
            if self._running:
                await asyncio.wait(self._running, timeout=left)
            else:
                await asyncio.sleep(min(left, _CALLBACKS_SECONDS))
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.gather(*self._running, return_exceptions=True)
