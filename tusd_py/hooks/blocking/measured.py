"""How long requests wait for hooks."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from tusd_py.contracts.hooks import HookHandler, HookRequest, HookResponse
from tusd_py.model.hooks import Hook

#: Called after each hook, with its time in seconds.
ObserveSeconds = Callable[[Hook, float], None]


class MeasuredHooks:
    """Reports the time of each call of ``handler``, whether it succeeds or fails."""

    def __init__(self, handler: HookHandler, observe: ObserveSeconds) -> None:
        self._handler = handler
        self._observe = observe
        self.handles = handler.handles
        self.handles_partial = handler.handles_partial
        self.close = handler.close

    async def invoke(self, event: HookRequest) -> HookResponse:
        """See ``HookHandler.invoke``."""
        if not self._handler.handles(event.hook):
            return await self._handler.invoke(event)
        started = perf_counter()
        try:
            return await self._handler.invoke(event)
        finally:
            self._observe(event.hook, perf_counter() - started)
