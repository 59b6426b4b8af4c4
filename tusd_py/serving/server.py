"""One server process: uvicorn with the lifespan, signal handling and shutdown that an upload server needs."""

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
from tusd_py.serving.acceptor import Acceptor, ConnectionCounts
from tusd_py.serving.connection_limit import ConnectionLimit
from tusd_py.serving.http.response_date import ResponseDate
from tusd_py.serving.http.send_deadline import SendDeadline
from tusd_py.serving.memory_release import MemoryRelease, release_memory
from tusd_py.settings import ServerSettings

_log = logging.getLogger("tusd_py.serving")
#: How long cancelled requests may take to save what they received.
_CANCEL_SECONDS = 2.0
#: During a stop a client that reads nothing for this long is not waited for.
_STOP_SEND_SECONDS = 2.0
#: A stop closes idle connections; one that has sent no request yet may be about to.
_FIRST_REQUEST_SECONDS = 0.5
_LOOK_SECONDS = 0.01
_EXIT_FORCED = 1


class Server(uvicorn.Server):
    """Starts the application's graceful shutdown on a signal, and ends the application after the last request.

    Plain uvicorn does not inform the application of a signal, does not wait for the requests it cancels, and raises the
    signal again at the end, so that a clean stop looks like a crash.
    """

    def __init__(
        self,
        app: Starlette,
        settings: ServerSettings,
        tls: ssl.SSLContext | None,
        *,
        on_started: Callable[[], None],
        protocol: type[asyncio.Protocol] | None = None,
        counts: ConnectionCounts | None = None,
        limit: ConnectionLimit | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol or "httptools",
                ws="none",
                # ``_run`` enters the lifespan around the server, where a failure is an exception.
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                workers=1,
                timeout_keep_alive=math.ceil(settings.keep_alive_seconds),
                ssl_context_factory=None if tls is None else lambda *_: tls,
            )
        )
        self._app = app
        self._grace_seconds = settings.shutdown_timeout_seconds
        self._send_deadline = SendDeadline(self.server_state.connections, settings.send_timeout_seconds)
        self._date = ResponseDate()
        self._memory_release = MemoryRelease()
        self._on_started = on_started
        #: Only with several server processes.
        self._counts = counts
        self._limit = limit
        #: Called on the event loop, by signal.
        self.signal_handlers: dict[int, Callable[[], None]] = {}
        #: After ``restart``: the sockets, which still listen.
        self.kept_sockets: list[socket.socket] = []
        self._listening: list[socket.socket] = []

    def run_until_stopped(self, sockets: list[socket.socket]) -> None:
        """Serve on ``sockets`` until a signal arrives. An exception of the application's startup is raised here."""
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            runner.run(self._run(sockets))

    async def _run(self, sockets: list[socket.socket]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening = sockets
        for number in self.signal_handlers:
            # Not add_signal_handler: it restores the default, which ends the process, when the loop ends.
            signal.signal(number, self._handle_signal)
        async with self._app.router.lifespan_context(self._app):
            looking = asyncio.create_task(self._send_deadline.run())
            try:
                await self.serve(sockets)
            finally:
                looking.cancel()

    async def on_tick(self, counter: int) -> bool:
        must_exit = await super().on_tick(counter)
        self.server_state.default_headers = self._date
        if self._memory_release.is_due(len(self.server_state.connections), self._loop.time()):
            await release_memory()
        return must_exit

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._counts is None and (self._limit is None or self.config.ssl is None):
            await super().startup(sockets)
        else:
            # With TLS also for one process: asyncio's own server does not tell of handshakes, which are to be limited.
            await super().startup([])
            self.servers = [self._acceptor(listener) for listener in sockets or ()]
        tuning.apply()
        self._on_started()

    def _acceptor(self, listener: socket.socket) -> Any:
        """An object in the place of ``asyncio.Server``: uvicorn only calls ``close`` and ``wait_closed``."""
        config, state = self.config, self.server_state
        assert not isinstance(config.http_protocol_class, str), "uvicorn has loaded it"
        protocol_class: Callable[..., asyncio.Protocol] = config.http_protocol_class
        loop = asyncio.get_running_loop()
        make_protocol = partial(
            protocol_class, config=config, server_state=state, app_state=self.lifespan.state, _loop=loop
        )
        return Acceptor(listener, make_protocol, config.ssl, self._counts, state.connections, self._limit)

    def stop(self) -> None:
        """Begin a graceful shutdown, on the event loop: running uploads are saved and answered, new ones refused."""
        if not self.should_exit:
            _log.info("stopping", extra={"grace_seconds": self._grace_seconds})
            self.should_exit = True
            self._app.state.drain()

    def restart(self) -> None:
        """Stop gracefully, on the event loop, but keep listening: new connections wait for the next program."""
        if not self.should_exit:
            self.kept_sockets = [listener.dup() for listener in self._listening]
            self.stop()

    def _handle_signal(self, sig: int, frame: FrameType | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.signal_handlers[sig])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop on the first signal; exit at once on the second, which loses no acknowledged byte.

        One of several server processes does not count signals: a terminal or a service manager signals the whole group,
        and the parent sends SIGTERM as well. On a second signal the parent kills its processes.
        """
        if self.should_exit and self._counts is None:
            os._exit(_EXIT_FORCED)
        if sig != signal.SIGINT or self._counts is None:
            self._loop.call_soon_threadsafe(self.stop)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, and give connections that have just been accepted the time to send their request."""
        for server in self.servers:
            if isinstance(server, Acceptor):
                server.stop_accepting()
            else:
                server.close()
        for _ in range(int(_FIRST_REQUEST_SECONDS / _LOOK_SECONDS)):
            if not self._awaits_first_request():
                break
            await asyncio.sleep(_LOOK_SECONDS)
        await super().shutdown(sockets)

    def _awaits_first_request(self) -> bool:
        """Whether a connection has sent no request yet."""
        if any(isinstance(server, Acceptor) and server.is_connecting for server in self.servers):
            return True
        return any(getattr(connection, "cycle", None) is None for connection in self.server_state.connections)

    async def _wait_tasks_to_complete(self) -> None:
        """Wait for requests to end; after the grace period cancel them and wait again."""
        state = self.server_state
        if not await self._all_ended(self._grace_seconds):
            _log.warning(
                "requests cancelled", extra={"requests": len(state.tasks), "connections": len(state.connections)}
            )
            logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)
            for task in list(state.tasks):
                task.cancel()
            for connection in list(state.connections):
                # A client that does not read its download keeps the connection open.
                if connection.transport is not None:
                    connection.transport.abort()
            await self._all_ended(_CANCEL_SECONDS)

    async def _all_ended(self, timeout_seconds: float) -> bool:
        """Wait for every request and connection to end; return whether they did in time."""
        state = self.server_state
        look_at = 0.0
        try:
            async with asyncio.timeout(timeout_seconds):
                while state.connections or state.tasks:
                    if self._loop.time() >= look_at:
                        await self._send_deadline.look(_STOP_SEND_SECONDS)
                        look_at = self._loop.time() + _STOP_SEND_SECONDS / 8
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return False
        return True


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Whether a record is to be logged: uvicorn logs the traceback of each cancelled request as an error."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
