"""Starts the requests of a connection: in callbacks if a request is whole and the application does that, else a task.

See ``direct`` in the web layer. Many clients send the head of a request and its body one after the other. A small body
is on its way then: waiting for it makes the request whole, and one without a task.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tusd_py.serving.http.cycle import Cycle
from tusd_py.serving.http.known_head import KnownHead
from tusd_py.serving.http.request_head import HeadLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from uvicorn._types import ASGI3Application

    #: Answers a request by a task after all, by the given application or the server's.
    Run = Callable[[Cycle, ASGI3Application | None], None]
    #: Returns whether it has begun to answer the request, and perhaps how those with a like head begin. If not, and
    #: later if it cannot, a task answers it (``Run``).
    BeginDirectly = Callable[[Cycle, Run], "bool | Repetition"]


class Repetition(Protocol):
    """Begins to answer requests without a body whose heads are like that of an earlier one."""

    #: The headers whose values may differ, in lower case.
    names: Sequence[bytes]

    def begin(self, cycle: Cycle, run: Run, values: Sequence[str]) -> bool:
        """Begin a request with these values of ``names``; return whether it has begun."""
        ...


#: A body that is not longer is waited for,
SMALL_BODY_BYTES = 64 * 1024
#: so long at most: what a fast client has sent by then arrives together, and a slow one does not notice it.
WHOLE_SECONDS = 0.01
#: So many heads of a connection are remembered in vain: each takes the time of a third of what it spares if it is used.
LEARNINGS_MAX = 4


class StartingProtocol(HttpToolsProtocol):
    """uvicorn's connection, and when its requests start. ``protocol`` parses them."""

    limits: ClassVar[HeadLimits] = HeadLimits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: The request whose head was parsed last. It starts when all is parsed that came with it.
        self._unstarted: Cycle | None = None
        self._start_timer: asyncio.TimerHandle | None = None
        self._begin_directly: BeginDirectly | None = getattr(self.app, "begin_directly", None)
        self.address: Mapping[str, Any] | None = None  # see ``Cycle.address``
        #: The head of a request that began without a task, and how those begin whose heads are like it.
        self._known: tuple[KnownHead, Repetition] | None = None
        self._learnings_left = LEARNINGS_MAX

    def _start(self, body_left: int, data: bytes) -> None:
        """Start the request that was parsed, or wait a moment for the ``body_left`` bytes that it lacks.

        ``data`` is what was received, if the request begins with it, and else empty.
        """
        cycle = self._unstarted
        assert cycle is not None
        is_awaited = 0 < body_left <= SMALL_BODY_BYTES and not cycle.waiting_for_100_continue
        if not is_awaited or self._begin_directly is None:
            self._start_now(data)
        elif self._start_timer is None:
            self._start_timer = self.loop.call_later(WHOLE_SECONDS, self._start_now)

    def _start_now(self, data: bytes = b"") -> None:
        """Start the request, if there is one, with what has arrived of it."""
        cycle, self._unstarted = self._unstarted, None
        if self._start_timer is not None:
            self._start_timer.cancel()
            self._start_timer = None
        if cycle is None:
            return
        application = self._application()
        begin = self._begin_directly if cycle.is_whole and application is self.app else None
        begun = begin is not None and begin(cycle, self._run)
        if not begun:
            self._start_asgi_task(cycle, application)
        elif begun is not True and data:
            self._learn_head(data, cycle, begun)

    def _learn_head(self, data: bytes, cycle: Cycle, repetition: Repetition) -> None:
        """Remember the head of a request that has begun, unless those before it were remembered in vain."""
        self._known = None
        if self._learnings_left:
            self._learnings_left -= 1
            # Those that the parser might refuse for their size are left to it.
            bytes_max = self.limits.header_bytes_max
            head = KnownHead.of(data, cycle.method, cycle.target, cycle.headers, repetition.names, bytes_max)
            self._known = None if head is None else (head, repetition)

    def _recognise(self, data: bytes) -> Cycle | None:
        """The request that ``data`` is, if its head is like the known one."""
        assert self._known is not None
        head, _ = self._known
        values = head.values_in(data)
        if values is None or self.limit_concurrency is not None:
            return None
        self._learnings_left = LEARNINGS_MAX
        cycle = Cycle(self, head.method, head.target, None, "1.1", keep_alive=True)
        cycle.known = head, values
        cycle.is_complete = True
        return cycle

    def _begin_known(self, cycle: Cycle) -> None:
        """Begin a request that was recognised, and is the one to be answered."""
        assert self._known is not None and cycle.known is not None
        if not self._known[1].begin(cycle, self._run, cycle.known[1]):
            self._start_asgi_task(cycle, self.app)

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
