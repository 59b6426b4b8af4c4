"""Work that must be finished although the task that waits for it is cancelled.

A cancelled request leaves bytes to record and files half made. ``shielded`` and ``finish_despite_cancel`` finish such
coroutines in bounded time. ``uninterrupted`` and ``wait_until_done`` are for threads, which cannot be stopped: they
wait as long as it takes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

#: As long as a forced shutdown waits.
_TIMEOUT_SECONDS = 10.0
_LAST_TURNS_SECONDS = 1.0


async def shielded(work: Awaitable[object]) -> None:
    """Await ``work``. If this task is cancelled meanwhile, finish it before the cancellation is raised."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await finish_despite_cancel(task)
        raise


async def finish_despite_cancel(work: Awaitable[object]) -> None:
    """Finish ``work`` however often this task is cancelled meanwhile, in bounded time. Its failure is logged."""
    task = asyncio.ensure_future(work)
    clock = asyncio.get_running_loop().time
    deadline = clock() + _TIMEOUT_SECONDS
    while not task.done() and (left := deadline - clock()) > 0:
        try:
            await asyncio.wait([task], timeout=left)
        except asyncio.CancelledError:
            continue
    if not task.done():
        task.cancel()
        # It closes its connection in its last turns; the event loop must not end before them.
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task], timeout=_LAST_TURNS_SECONDS)
    elif not task.cancelled() and (failure := task.exception()) is not None:
        log.info("cleaning up after a cancelled request: %s: %s", type(failure).__name__, failure)


async def uninterrupted(future: asyncio.Future[T]) -> T:
    """Return the result of ``future``. If this task is cancelled, raise that only once ``future`` is done."""
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await wait_until_done(future)
        raise


async def wait_until_done(future: asyncio.Future[Any]) -> None:
    """Wait until ``future`` is done, however often this task is cancelled; raise that cancellation afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
