"""Starts the server as one process or several, and says where it is. What is wrong before that is one sentence."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, MutableMapping, MutableSequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, nullcontext
from functools import partial
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import NoReturn, TypeVar

from prometheus_client.multiprocess import mark_process_dead

from tusd_py import logs
from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.store import StoreError
from tusd_py.service import create_app
from tusd_py.serving import limits, systemd
from tusd_py.serving.acceptor import NOBODY, Shares
from tusd_py.serving.child_process import Companion, beside
from tusd_py.serving.http.uvicorn_compat import protocol_class
from tusd_py.serving.listeners import CannotListen, Listening, listen, tls_context
from tusd_py.serving.server import Server
from tusd_py.serving.supervisor import READY, WorkerFailed, Workers
from tusd_py.serving.worker_program import worker_command
from tusd_py.settings import Settings
from tusd_py.web.metrics import SHARED_DIRECTORY
from tusd_py.wiring import migrate_records, needs_worker

_log = logging.getLogger("tusd_py.serving")
T = TypeVar("T")

_EXIT_UNUSABLE = 2
_WORKER = (*worker_command(), "--settings")
#: Beyond the time that jobs have to end: for actors that are interrupted, and the closing of the database.
_WORKER_CLOSING_SECONDS = 20.0


class StartupError(Exception):
    """Something that the operator must change; the text says what."""


def serve(settings: Settings, environ: MutableMapping[str, str], say: Callable[[str], None]) -> int:
    """Serve until a signal and return the exit code. Raises ``StartupError``.

    ``environ`` is the process's own: what systemd wrote into it is read, what worker processes share is added.
    """
    logs.configure(settings.log.format, settings.log.level, sys.stderr)
    # Until requests are served a stop needs no grace: both signals end what is being started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    limits.raise_limit()
    prepare(settings)
    try:
        tls_context(settings.server)
        listening = listen(settings.server, environ, os.getpid())
    except CannotListen as error:
        raise StartupError(str(error)) from error
    with closing(listening):
        announce = partial(_announce, settings, listening, environ, say)
        # Stopped last: what the server does while it ends may be work for it.
        with beside(_companion(settings)):
            if settings.server.workers == 1:
                return _serve_alone(settings, listening, announce)
            return _serve_together(settings, listening, environ, announce)


def become_worker(settings: Settings) -> NoReturn:
    """Replace this process by a worker. Raises ``StartupError``."""
    if settings.database_path is None:
        raise StartupError('records.url is "memory": there is nothing that a worker could share with the server')
    prepare(settings)
    # Not a pipe, which nobody would empty before the worker is there to read.
    with tempfile.TemporaryFile() as file:
        file.write(_as_line(settings))
        file.seek(0)
        os.set_inheritable(file.fileno(), True)
        os.execv(sys.executable, [*_WORKER, str(file.fileno())])


def _companion(settings: Settings) -> Companion | None:
    """The worker that this server starts, if it has any work to do."""
    if settings.worker.mode != "embedded" or not needs_worker(settings):
        return None
    return Companion(
        [*_WORKER, "{descriptor}", "--child"],
        _as_line(settings),
        patience_seconds=settings.worker.shutdown_timeout_seconds + _WORKER_CLOSING_SECONDS,
    )


def _as_line(settings: Settings) -> bytes:
    """All settings for a worker process: not in its arguments or its environment, which other users may see."""
    return settings.model_dump_json().encode() + b"\n"


def prepare(settings: Settings) -> None:
    """Make the data directory and bring the database up to date. Raises ``StartupError``."""
    try:
        if settings.storage.kind == "disk":
            claim(Path(settings.storage.data_dir))
        for step in _apart(migrate_records, settings):
            _log.info("database changed", extra={"step": step})
    except (OSError, RecordsError) as error:
        raise StartupError(reason(error)) from error


def _apart(work: Callable[[Settings], T], settings: Settings) -> T:
    """Do ``work`` in a process of its own: what a migration loads, 12 MiB, the server would carry along for ever."""
    if "fork" not in get_all_start_methods():
        return work(settings)
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as process:
        return process.submit(work, settings).result()


def claim(data_dir: Path) -> None:
    """Make the data directory, readable for its owner and group only, if need be. Raises ``StartupError``."""
    try:
        data_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        raise StartupError(f"storage.data_dir {data_dir} cannot be written to: {error.strerror}") from error


def reason(error: Exception) -> str:
    """The sentence that an error of the system or of a backend makes."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def work(
    settings: Settings, listening: Listening, numbers: MutableSequence[int], report: Connection, place: int
) -> None:
    """The life of one worker process: it reports when it serves, or why it cannot, and ends when its parent does."""
    logs.configure(settings.log.format, settings.log.level, sys.stderr)

    def tell_parent() -> None:
        report.send(READY)
        loop = asyncio.get_running_loop()

        def orphaned() -> None:
            loop.remove_reader(report.fileno())
            server.stop()

        loop.add_reader(report.fileno(), orphaned)

    try:
        server = _server(settings, tell_parent, Shares(numbers, place))
        _run(server, listening)
    except StartupError as error:
        report.send(str(error))
        sys.exit(_EXIT_UNUSABLE)


def _serve_alone(settings: Settings, listening: Listening, announce: Callable[[], None]) -> int:
    _run(_server(settings, announce, None), listening)
    _log.info("stopped")
    return 0


def _serve_together(
    settings: Settings, listening: Listening, environ: MutableMapping[str, str], announce: Callable[[], None]
) -> int:
    shared = tempfile.TemporaryDirectory(prefix="tusd-py-metrics-") if settings.metrics.enabled else nullcontext("")
    with shared as directory:
        if directory:
            environ[SHARED_DIRECTORY] = directory

        numbers: MutableSequence[int] = SpawnContext().RawArray("q", [NOBODY] * settings.server.workers)

        def forget(process_id: int, place: int) -> None:
            numbers[place] = NOBODY
            if directory:
                mark_process_dead(process_id, directory)  # type: ignore[no-untyped-call]  # the library has no types

        workers = Workers(
            settings.server.workers,
            partial(work, settings, listening, numbers),
            patience_seconds=settings.server.shutdown_timeout_seconds,
            on_ready=announce,
            on_death=forget,
        )
        try:
            return workers.run()
        except WorkerFailed as error:
            raise StartupError(str(error)) from error


def _server(settings: Settings, on_started: Callable[[], None], shares: Shares | None) -> Server:
    try:
        tls = tls_context(settings.server)
    except CannotListen as error:
        raise StartupError(str(error)) from error
    protocol = protocol_class(settings.server)
    app = create_app(settings, trailers=protocol is not None)
    return Server(app, settings.server, tls, on_started=on_started, protocol=protocol, shares=shares)


def _run(server: Server, listening: Listening) -> None:
    try:
        server.run_until_stopped(listening.sockets)
    except (OSError, RecordsError, StoreError) as error:
        if server.started:
            raise
        raise StartupError(reason(error)) from error


def _announce(
    settings: Settings, listening: Listening, environ: MutableMapping[str, str], say: Callable[[str], None]
) -> None:
    """Say where the server is, now that it accepts connections."""
    scheme = "https" if settings.server.tls_certificate else "http"
    root = f"{scheme}://{listening.address}"
    say(f"tus endpoint  {root}{settings.server.base_path}")
    if settings.server.page:
        say(f"page          {root}/")
    say(f"data          {settings.storage.data_dir if settings.storage.kind == 'disk' else 'in memory'}")
    systemd.notify(environ, "READY=1")
