"""Runs the server in one process or several, and prints where it listens."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import closing, nullcontext
from functools import partial
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from tusd_py import logs
from tusd_py.commands.console import environ
from tusd_py.commands.hook_programs import program_problems
from tusd_py.commands.settings_reload import LoadSettings, SettingsReloader
from tusd_py.commands.startup import StartupError, ensure_data_dir, prepare, reason
from tusd_py.commands.worker_process import send_settings, worker_child
from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.store import StoreError
from tusd_py.service import create_app, page_options
from tusd_py.serving import handover, open_files, systemd
from tusd_py.serving.acceptor import NO_PROCESS, ConnectionCounts
from tusd_py.serving.child_process import SupervisedChild, running
from tusd_py.serving.connection_limit import ConnectionLimit
from tusd_py.serving.fork_server import ForkServer
from tusd_py.serving.http.uvicorn_compat import protocol_class
from tusd_py.serving.listeners import ListenError, Listeners, listen, tls_context
from tusd_py.serving.running_servers import Registration, registered
from tusd_py.serving.server import Server
from tusd_py.serving.shared_numbers import Numbers, shared_numbers
from tusd_py.serving.supervisor import READY, ServerProcessFailed, Supervisor
from tusd_py.settings import Settings
from tusd_py.settings.loading import EXIT_UNUSABLE, injected
from tusd_py.web import shared_metrics
from tusd_py.web.client_address import ClientAddresses
from tusd_py.wiring.authenticators import authenticator, open_to_everyone, tokens_without_key
from tusd_py.wiring.jobs import needs_worker

_log = logging.getLogger("tusd_py.serving")


def run(
    settings: Settings, environ: MutableMapping[str, str], say: Callable[[str], None], load_again: LoadSettings
) -> int:
    """Run the server until a signal arrives and return the exit code. Raises ``StartupError``.

    On SIGHUP it reads what ``load_again`` returns; on SIGUSR2 a new program takes its place.

    ``environ`` is the environment of this process: systemd's variables are read from it, and the directory that server
    processes share for their metrics is added to it.
    """
    logs.configure(settings.log.format, settings.log.level, sys.stderr, privacy=settings.log.privacy)
    # Nothing needs a graceful shutdown before requests are served: until then both signals interrupt the startup.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # These never end a server; it handles them once it runs.
    for number in (signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    inherited = handover.take_over(environ)
    if ignored := injected(environ):
        _log.info("ignored variables that describe a service of Kubernetes", extra={"variables": " ".join(ignored)})
    open_files.raise_limit()
    if warning := open_to_everyone(settings):
        _log.warning("no access control", extra={"advice": warning})
    for sentence in program_problems(settings):
        _log.warning("a program of a hook is of no use", extra={"advice": sentence})
    if warning := tokens_without_key(settings):
        _log.warning("no key for tokens", extra={"advice": warning})
    try:
        authenticator(settings)
        page_options(settings)
    except OSError as error:
        raise StartupError(str(error)) from error
    if settings.storage.kind != "memory":
        ensure_data_dir(Path(settings.storage.data_dir))
    try:
        tls_context(settings.server)
        listeners = listen(settings.server, environ, os.getpid(), inherited)
    except ListenError as error:
        raise StartupError(str(error)) from error
    needs_child = settings.worker.mode == "embedded" and needs_worker(settings)
    servers = Path(settings.storage.data_dir) / "servers" if settings.storage.kind == "disk" else None
    reloader = SettingsReloader(settings, load_again)
    with closing(listeners), registered(servers) as registration:
        # After the sockets: a second server on the same address must not migrate the database of the first.
        prepare(settings)
        announce = partial(_announce, settings, listeners, environ, say, registration)
        child = worker_child(settings) if needs_child else None
        if child is not None:
            reloader.on_reload.append(partial(send_settings, child))
        # The worker stops last: the server may add jobs while it shuts down.
        with running(child):
            if settings.server.processes == 1:
                code, kept = _run_alone(settings, listeners, announce, reloader)
            else:
                code, kept = _run_processes(settings, listeners, environ, announce, reloader)
            if kept:
                # The present worker ends when this program does; the next one begins beside it.
                _exec_again(kept, environ, child)
        return code


def _exec_again(
    kept: Sequence[socket.socket], environ: MutableMapping[str, str], child: SupervisedChild | None
) -> NoReturn:
    _log.info("starting anew")
    systemd.notify(environ, "RELOADING=1")
    try:
        handover.exec_again(kept, environ, None if child is None else child.pid)
    except OSError as error:
        raise StartupError(f"the server could not start anew: {reason(error)}") from error


def run_process(
    settings: Settings,
    listeners: Listeners,
    numbers: Numbers,
    load_again: LoadSettings,
    report: Connection,
    slot: int,
) -> None:
    """Run one of several server processes. It reports when it is ready, or why it failed, and stops with its parent."""
    logs.configure(settings.log.format, settings.log.level, sys.stderr, privacy=settings.log.privacy)

    def on_started() -> None:
        report.send(READY)
        loop = asyncio.get_running_loop()

        def parent_gone() -> None:
            loop.remove_reader(report.fileno())
            server.stop()

        loop.add_reader(report.fileno(), parent_gone)

    shared_metrics.join(slot, environ)
    try:
        server = _make_server(settings, on_started, ConnectionCounts(numbers, slot))
        _handle_signals(server, SettingsReloader(settings, load_again))
        _run_server(server, listeners)
    except StartupError as error:
        report.send(str(error))
        sys.exit(EXIT_UNUSABLE)


def _handle_signals(server: Server, reloader: SettingsReloader) -> None:
    """Reload on SIGHUP. Only the parent of several server processes handles SIGUSR2."""
    app: Any = server.config.app
    reloader.on_reload.append(app.state.reload_rules)
    server.signal_handlers[signal.SIGHUP] = lambda: reloader.reload(server.config.ssl)


def _run_alone(
    settings: Settings, listeners: Listeners, announce: Callable[[], None], reloader: SettingsReloader
) -> tuple[int, list[socket.socket]]:
    """Run until a signal arrives; return the exit code, and the sockets if a new program is to take over."""
    server = _make_server(settings, announce, None)
    _handle_signals(server, reloader)

    def restart() -> None:
        if reloader.read_again() is not None:
            server.restart()

    server.signal_handlers[signal.SIGUSR2] = restart
    _run_server(server, listeners)
    if not server.kept_sockets:
        _log.info("stopped")
    return 0, server.kept_sockets


def _run_processes(
    settings: Settings,
    listeners: Listeners,
    environ: MutableMapping[str, str],
    announce: Callable[[], None],
    reloader: SettingsReloader,
) -> tuple[int, list[socket.socket]]:
    """Like ``_run_alone``, with several server processes."""
    directory = Path(settings.storage.data_dir) / "metrics"
    shared = shared_metrics.shared_directory(directory, environ) if settings.metrics.enabled else nullcontext()
    with shared:
        numbers = shared_numbers(settings.server.processes, NO_PROCESS)

        def on_exit(_: int, slot: int) -> None:
            numbers[slot] = NO_PROCESS
            shared_metrics.leave(slot, environ)

        supervisor = Supervisor(
            settings.server.processes,
            partial(run_process, settings, listeners, numbers, reloader.load),
            fork_server=ForkServer("tusd_py.commands.fork_server_preload", Path(settings.storage.data_dir)),
            grace_seconds=settings.server.shutdown_timeout_seconds,
            on_ready=announce,
            on_exit=on_exit,
            on_hangup=lambda: reloader.reload(None),
            may_restart=lambda: reloader.read_again() is not None,
        )
        try:
            code = supervisor.run()
        except ServerProcessFailed as error:
            raise StartupError(str(error)) from error
        return code, listeners.sockets if supervisor.restarts else []


def _make_server(settings: Settings, on_started: Callable[[], None], counts: ConnectionCounts | None) -> Server:
    try:
        tls = tls_context(settings.server)
    except ListenError as error:
        raise StartupError(str(error)) from error
    server = settings.server
    # Each process counts for itself: of a share of the limit, one process might have none left when another one has.
    limit = ConnectionLimit(server.connections_per_address_max, ClientAddresses(trusted_proxies=server.trusted_proxies))
    protocol = protocol_class(server, limit)
    app = create_app(settings, trailers=protocol is not None)
    limit.on_refused = app.state.count_refused_connection
    return Server(app, server, tls, on_started=on_started, protocol=protocol, counts=counts, limit=limit)


def _run_server(server: Server, listeners: Listeners) -> None:
    try:
        server.run_until_stopped(listeners.sockets)
    except (OSError, RecordsError, StoreError) as error:
        if server.started:
            raise
        raise StartupError(reason(error)) from error


def _announce(
    settings: Settings,
    listeners: Listeners,
    environ: MutableMapping[str, str],
    say: Callable[[str], None],
    registration: Registration | None,
) -> None:
    """Print the URLs; the server accepts connections now."""
    scheme = "https" if settings.server.tls_certificate else "http"
    root = f"{scheme}://{listeners.address}"
    data = "in memory"
    if settings.storage.kind != "memory":
        data = str(Path(settings.storage.data_dir).absolute())
    say(f"tus endpoint  {root}{settings.server.base_path}")
    if settings.has_page:
        say(f"page          {root}/")
    if listeners.unix_path is not None:
        say(f"unix socket   {listeners.unix_path.absolute()}")
    if settings.storage.kind == "s3":
        say(f"bucket        {settings.s3.bucket}")
    say(f"data          {data}")
    extra = {"version": version("tusd-py"), "endpoint": f"{root}{settings.server.base_path}", "data_dir": data}
    _log.info("started", extra=extra)
    if registration is not None:
        registration.announce()
    systemd.notify(environ, "READY=1")
