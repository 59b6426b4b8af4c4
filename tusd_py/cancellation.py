"""What must be finished though the request it belongs to is being cancelled: bytes that came, files half made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

log = logging.getLogger(__name__)

# A forced end waits so long.
_SECONDS = 10.0


async def shielded(work: Awaitable[object]) -> None:
    """Await ``work``; cancelled meanwhile, finish it before the cancellation is raised: then it is known to be done."""
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
    deadline = clock() + _SECONDS
    while not task.done() and (left := deadline - clock()) > 0:
        try:
            await asyncio.wait([task], timeout=left)
        except asyncio.CancelledError:
            continue
    if not task.done():
        task.cancel()
    elif not task.cancelled() and (failure := task.exception()) is not None:
        log.info("cleaning up after a cancelled request: %s: %s", type(failure).__name__, failure)
