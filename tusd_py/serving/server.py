"""One process that serves: uvicorn with its lifespan, signals and shutdown as an upload server needs them."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import ssl
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette

from tusd_py.serving import tuning
from tusd_py.serving.acceptor import Acceptor, Shares
from tusd_py.settings import Server as ServerSettings

_log = logging.getLogger("tusd_py.serving")
#: What cancelled requests have left to write down what they have.
_LAST_WORDS_SECONDS = 2.0
_EXIT_FORCED = 1


class Server(uvicorn.Server):
    """Tells the application of a signal at once, and lets every request end before the application does.

    uvicorn itself would say nothing to the application, cancel what runs too long without waiting for it, and then
    raise the signal again, so that a clean stop looks like a crash.
    """

    def __init__(
        self,
        app: Starlette,
        settings: ServerSettings,
        tls: ssl.SSLContext | None,
        *,
        on_started: Callable[[], None],
        protocol: type[asyncio.Protocol] | None = None,
        shares: Shares | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol or "httptools",
                ws="none",
                # The application's lifespan is run around the server (see ``run``), where its failures are exceptions.
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                workers=1,
                timeout_keep_alive=math.ceil(settings.keep_alive_seconds),
                ssl_context_factory=None if tls is None else lambda *_: tls,
            )
        )
        self._app = app
        self._patience_seconds = settings.shutdown_timeout_seconds
        self._on_started = on_started
        #: Of a worker: what it and its siblings have.
        self._shares = shares

    def run_until_stopped(self, sockets: list[socket.socket]) -> None:
        """Serve on ``sockets`` until a signal comes. What the application raises when it starts is raised here."""
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            runner.run(self._live(sockets))

    async def _live(self, sockets: list[socket.socket]) -> None:
        self._loop = asyncio.get_running_loop()
        async with self._app.router.lifespan_context(self._app):
            await self.serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._shares is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            self.servers = [self._acceptor(listener, self._shares) for listener in sockets or ()]
        tuning.settle()
        self._on_started()

    def _acceptor(self, listener: socket.socket, shares: Shares) -> Any:
        """What uvicorn takes for one of asyncio's servers: it is closed, and that is all that is asked of it."""
        config, state = self.config, self.server_state
        assert not isinstance(config.http_protocol_class, str), "it has been loaded"
        kind: Callable[..., asyncio.Protocol] = config.http_protocol_class
        loop = asyncio.get_running_loop()
        make_protocol = partial(kind, config=config, server_state=state, app_state=self.lifespan.state, _loop=loop)
        return Acceptor(listener, make_protocol, config.ssl, shares, state.connections)

    def stop(self) -> None:
        """Begin to stop, from the event loop: running uploads are saved and answered, new ones refused."""
        if not self.should_exit:
            _log.info("stopping", extra={"patience_seconds": self._patience_seconds})
            self.should_exit = True
            self._app.state.drain()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came. The second one ends the process at once: nothing acknowledged is lost by that.

        Not so in a worker: a terminal and a service manager signal every process of the group, and the parent says it
        again. Whether it is meant twice is for the parent to say, which kills.
        """
        if self.should_exit and self._shares is None:
            os._exit(_EXIT_FORCED)
        if sig != signal.SIGINT or self._shares is None:
            self._loop.call_soon_threadsafe(self.stop)

    async def _wait_tasks_to_complete(self) -> None:
        """Give requests their time to end, then cancel them, and wait for that too."""
        state = self.server_state
        if not await self._ended(self._patience_seconds):
            _log.warning(
                "requests cancelled", extra={"requests": len(state.tasks), "connections": len(state.connections)}
            )
            for task in list(state.tasks):
                task.cancel()
            for connection in list(state.connections):
                # Whoever reads a download too slowly keeps its connection open for as long.
                if connection.transport is not None:
                    connection.transport.abort()
            await self._ended(_LAST_WORDS_SECONDS)

    async def _ended(self, timeout_seconds: float) -> bool:
        """Whether every request and connection came to its end in time."""
        state = self.server_state
        try:
            async with asyncio.timeout(timeout_seconds):
                while state.connections or state.tasks:  # noqa: ASYNC110 - uvicorn keeps sets, and sets no event
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return False
        return True
