"""Removal of what a failed attempt has made, in bounded time: S3 may be what has failed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from tusd_py.contracts.store import StoreError

#: Removing some objects takes less at a service that works. The caller may hold a lock, or be about to stop.
CLEAN_UP_SECONDS = 5.0

log = logging.getLogger(__name__)


async def clean_up(removal: Awaitable[None], key: str, seconds: float = CLEAN_UP_SECONDS) -> None:
    """Await ``removal`` of what has been made for ``key``. What it leaves is found by the janitor.

    Raises nothing but the cancellation of this task.
    """
    try:
        async with asyncio.timeout(seconds):
            await removal
    except (StoreError, TimeoutError) as error:
        reason = str(error) or f"no answer within {seconds:g} seconds"
        log.info("an object was left for the janitor", extra={"key": key, "reason": reason})
