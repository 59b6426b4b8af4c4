"""One worker process from start to end, outside Dramatiq's own command: who stops it, and how long that may take."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping

import dramatiq
from dramatiq import Broker, Worker

from tusd_py.settings import Settings

from .actors import find_actors
from .broker import declare, make_broker
from .lifespan import Lifespan
from .tasks import Actor

log = logging.getLogger(__name__)

# How long an idle queue is waited at; with Redis it is how late a job may be seen.
_IDLE_MILLISECONDS = 100
# What actors that were interrupted have left to write down how far they are.
_LAST_WORDS_SECONDS = 5.0
_EXIT_STOPPED, _EXIT_FAILED = 0, 1


def set_up(settings: Settings, actors: Mapping[str, Actor], fail: Callable[[], None]) -> Broker:
    """The broker with its actors, known to Dramatiq; ``fail`` is called when the worker must be started anew."""
    lifespan = Lifespan(settings, actors, fail)
    broker = make_broker(settings, lifespan)
    dramatiq.set_broker(broker)
    declare(broker, actors, lifespan.perform)
    return broker


def start(settings: Settings, actors: Mapping[str, Actor], fail: Callable[[], None]) -> Worker:
    """A worker in threads of this process, one of them at a time."""
    broker = set_up(settings, actors, fail)
    # Only Dramatiq's own command says so; without it no time limit would ever be kept.
    broker.emit_after("process_boot")
    worker = Worker(broker, worker_timeout=_IDLE_MILLISECONDS, worker_threads=settings.worker.threads)
    worker.start()
    return worker


def stop(worker: Worker) -> None:
    """Let jobs end for ``worker.shutdown_timeout_seconds``, interrupt and give back what is left."""
    worker.stop(timeout=int(_LAST_WORDS_SECONDS * 1000))
    worker.broker.close()


def work(settings: Settings, parent: int | None = None) -> int:
    """Work until a signal comes, and return the exit code.

    With ``parent``, a descriptor whose other end the parent process holds, until that is closed: by its wish, or by
    its death. Signals are left to the parent then: a terminal and a service manager send them to both at once.
    """
    stopping = threading.Event()
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        stopping.set()

    _listen(stopping, parent)
    worker = start(settings, find_actors(), fail)
    stopping.wait()
    stop(worker)
    return _EXIT_FAILED if failed.is_set() else _EXIT_STOPPED


def _listen(stopping: threading.Event, parent: int | None) -> None:
    """Have ``stopping`` set when the process shall end."""
    if parent is None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

    def watch() -> None:
        while os.read(parent, 4096):
            continue
        stopping.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()
