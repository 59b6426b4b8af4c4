"""How long requests wait for hooks, and which hooks fail."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter

from tusd_py.contracts.hooks import HookFailed, HookHandler, HookRequest, HookResponse
from tusd_py.logs import Outages
from tusd_py.model.hooks import Hook

log = logging.getLogger("tusd_py.hooks")

#: Called after each hook, with its time in seconds.
ObserveSeconds = Callable[[Hook, float], None]


class MeasuredHooks:
    """Reports the time of each call of ``handler``, whether it succeeds or fails, and logs outages of hooks."""

    def __init__(self, handler: HookHandler, observe: ObserveSeconds) -> None:
        self._handler = handler
        self._observe = observe
        # Every request fails while a hook does: a line for each would fill the log.
        self._outages = Outages("hook fails")
        self.handles = handler.handles
        self.handles_partial = handler.handles_partial
        self.close = handler.close

    async def invoke(self, event: HookRequest) -> HookResponse:
        """See ``HookHandler.invoke``."""
        if not self._handler.handles(event.hook):
            return await self._handler.invoke(event)
        started = perf_counter()
        try:
            response = await self._handler.invoke(event)
        except HookFailed as failure:
            self._outages.failed(log, event.hook.value, str(failure))
            raise
        finally:
            self._observe(event.hook, perf_counter() - started)
        self._outages.succeeded(log, event.hook.value)
        return response
