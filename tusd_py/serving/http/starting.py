"""Starts the requests of a connection: in callbacks if a request is whole and the application does that, else a task.

See ``direct`` in the web layer. Many clients send the head of a request and its body one after the other. A small body
is on its way then: waiting for it makes the request whole, and one without a task.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tusd_py.serving.http.cycle import Cycle

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn._types import ASGI3Application

    #: Answers a request by a task after all, by the given application or the server's.
    Run = Callable[[Cycle, ASGI3Application | None], None]
    #: Returns whether it has begun to answer the request. If not, and later if it cannot, a task does (``Run``).
    BeginDirectly = Callable[[Cycle, Run], bool]

#: A body that is not longer is waited for,
SMALL_BODY_BYTES = 64 * 1024
#: so long at most: what a fast client has sent by then arrives together, and a slow one does not notice it.
WHOLE_SECONDS = 0.01


class StartingProtocol(HttpToolsProtocol):
    """uvicorn's connection, and when its requests start. ``protocol`` parses them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: The request whose head was parsed last. It starts when all is parsed that came with it.
        self._unstarted: Cycle | None = None
        self._start_timer: asyncio.TimerHandle | None = None
        self._begin_directly: BeginDirectly | None = getattr(self.app, "begin_directly", None)

    def _start(self, body_left: int) -> None:
        """Start the request that was parsed, or wait a moment for the ``body_left`` bytes that it lacks."""
        cycle = self._unstarted
        assert cycle is not None
        is_awaited = 0 < body_left <= SMALL_BODY_BYTES and not cycle.waiting_for_100_continue
        if not is_awaited or self._begin_directly is None:
            self._start_now()
        elif self._start_timer is None:
            self._start_timer = self.loop.call_later(WHOLE_SECONDS, self._start_now)

    def _start_now(self) -> None:
        """Start the request, if there is one, with what has arrived of it."""
        cycle, self._unstarted = self._unstarted, None
        if self._start_timer is not None:
            self._start_timer.cancel()
            self._start_timer = None
        if cycle is None:
            return
        application = self._application()
        begin = self._begin_directly if cycle.is_whole and application is self.app else None
        if begin is None or not begin(cycle, self._run):
            self._start_asgi_task(cycle, application)

    def _run(self, cycle: Cycle, application: ASGI3Application | None = None) -> None:
        """Answer a request by a task after all; by ``application`` if it is given."""
        self._start_asgi_task(cycle, application or self.app)

    def _application(self) -> ASGI3Application:
        limit = self.limit_concurrency
        if limit is None or (len(self.connections) < limit and len(self.tasks) < limit):
            app: ASGI3Application = self.app
            return app
        self.logger.warning("Exceeded concurrency limit.")
        return service_unavailable
