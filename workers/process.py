"""One worker process from start to stop, when it is not run by Dramatiq's own command."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import dramatiq
from dramatiq import Broker, Worker

from tusd_py import logs
from tusd_py.settings import Settings

from .actors import find_actors
from .broker import declare, make_broker
from .lifespan import Lifespan

log = logging.getLogger(__name__)

# How long Dramatiq waits at an empty queue; with Redis, a job may be seen this late.
_IDLE_MILLISECONDS = 100
# How long interrupted actors have to return their jobs.
_INTERRUPTED_SECONDS = 5.0
# How much longer than its parts a stop may take before the process is ended without it.
_OVERDUE_SECONDS = 15.0
_EXIT_STOPPED, _EXIT_FAILED = 0, 1


def set_up(settings: Settings, lifespan: Lifespan) -> Broker:
    """Set Dramatiq's broker and declare its actors."""
    broker = make_broker(settings, lifespan)
    dramatiq.set_broker(broker)
    declare(broker, lifespan.actors, lifespan.perform)
    return broker


def start(settings: Settings, lifespan: Lifespan) -> Worker:
    """Start a worker in threads of this process, one at a time."""
    broker = set_up(settings, lifespan)
    # Dramatiq's own command emits this; without it no time limit would be enforced.
    broker.emit_after("process_boot")
    worker = Worker(broker, worker_timeout=_IDLE_MILLISECONDS, worker_threads=settings.worker.threads)
    worker.start()
    return worker


def stop(worker: Worker) -> None:
    """Wait ``worker.shutdown_timeout_seconds`` for running jobs, then interrupt and return the rest."""
    worker.stop(timeout=int(_INTERRUPTED_SECONDS * 1000))
    worker.broker.close()


def work(settings: Settings, parent: int | None = None) -> int:
    """Run a worker until SIGINT or SIGTERM, and return the exit code.

    With ``parent``, a descriptor whose other end the parent process holds, run until that end is closed: when the
    parent wants it or dies. Signals are ignored then, since terminals and service managers send them to both processes.
    A line that arrives there has settings, of which the validation rules and those of the log are taken over.
    """
    stopping = threading.Event()
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        stopping.set()

    lifespan = Lifespan(settings, find_actors(), fail)

    def reload(line: bytes) -> None:
        given = Settings.model_validate(json.loads(line))
        logs.configure(given.log.format, given.log.level, sys.stderr, privacy=given.log.privacy)
        lifespan.reload_rules(given)

    _set_on_stop(stopping, parent, reload)
    worker = start(settings, lifespan)
    stopping.wait()
    exit_if_overdue(settings.worker.shutdown_timeout_seconds + _INTERRUPTED_SECONDS + _OVERDUE_SECONDS)
    stop(worker)
    return _EXIT_FAILED if failed.is_set() else _EXIT_STOPPED


def exit_if_overdue(seconds: float) -> None:
    """End the process in ``seconds`` if it still exists then. Jobs that it holds run again after their lease.

    Dramatiq interrupts an actor by an exception at any line. If that line holds a lock, of a log handler for example,
    the stop waits for ever, and no parent may be left to kill the process.
    """

    def end() -> None:
        time.sleep(seconds)
        os.write(sys.stderr.fileno(), b"tusd-py: the worker did not stop in time, ending it\n")
        os._exit(_EXIT_FAILED)

    threading.Thread(target=end, name="overdue", daemon=True).start()


def _set_on_stop(stopping: threading.Event, parent: int | None, reload: Callable[[bytes], None]) -> None:
    """Set ``stopping`` when the process has to stop; ``reload`` is called with each line from the parent."""
    # No terminal or service manager ends a worker with it: its settings are read when it starts.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if parent is None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

    def watch() -> None:
        try:
            with open(parent, "rb") as lines:
                for line in lines:
                    # A parent that is killed while it writes leaves a part of a line.
                    if line.endswith(b"\n"):
                        _reload_or_log(reload, line)
        finally:
            stopping.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _reload_or_log(reload: Callable[[bytes], None], line: bytes) -> None:
    try:
        reload(line)
    except Exception as failure:  # noqa: BLE001
        # The outermost handler: the earlier settings stay, and the end of the parent must still be noticed. The text of
        # the failure may contain secrets of the settings.
        log.error("could not take over settings", extra={"reason": type(failure).__name__})
