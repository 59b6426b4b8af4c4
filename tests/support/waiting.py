"""Waits for a condition with a deadline, instead of sleeping for luck."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], bool], what: str, timeout_seconds: float = 15.0) -> None:
    """Return as soon as ``condition()`` holds; fail, saying that ``what`` did not happen, when it does not in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_seconds} seconds: {what}"
        await asyncio.sleep(0.01)


def until_now(condition: Callable[[], bool], what: str, timeout_seconds: float = 15.0) -> None:
    """Wait as ``until`` does, in a test without an event loop."""
    asyncio.run(until(condition, what, timeout_seconds))
