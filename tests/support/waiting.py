"""Waits for a condition with a deadline, instead of sleeping for luck."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def eventually(
    condition: Callable[[], bool], what: str = "the condition holds", timeout_seconds: float = 15.0
) -> None:
    """Return as soon as ``condition()`` holds. Fail with ``what`` if it does not within ``timeout_seconds``."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_seconds:g} seconds: {what}"
        await asyncio.sleep(0.001)


def until_now(condition: Callable[[], bool], what: str, timeout_seconds: float = 15.0) -> None:
    """Wait as ``eventually`` does, in a test without an event loop."""
    asyncio.run(eventually(condition, what, timeout_seconds))
