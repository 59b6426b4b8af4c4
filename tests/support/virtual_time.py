"""An asyncio event loop with virtual time, so that tests of timeouts neither wait nor depend on the machine's speed.

Use it as the backend of a test module::

    @pytest.fixture
    def anyio_backend() -> object:
        return VIRTUAL_TIME
"""

from __future__ import annotations

import asyncio
import selectors

#: A wait for I/O or a thread that takes longer than this in real time is a deadlock.
_DEADLOCK_SECONDS = 20.0


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Its clock stands still while callbacks run, and jumps to the next timer as soon as no callback is ready.

    Not for code that waits for threads, other processes or the network while timers run: these take real time, and
    the clock would jump past them.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """End the threads of the default executor, without a timer: the clock would jump past their real time."""
        await super().shutdown_default_executor()


class _JumpingSelector(selectors.DefaultSelector):
    """Polls for I/O; instead of waiting for the next timer it advances the clock of the loop."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            ready = super().select(_DEADLOCK_SECONDS)
            assert ready, "every task waits for something that cannot happen"
            return ready
        ready = super().select(0)
        if not ready:
            self._loop.advance(timeout)
        return ready


VIRTUAL_TIME = ("asyncio", {"loop_factory": VirtualTimeLoop})
