"""Several worker processes on the same sockets: started, watched, replaced when they die, stopped together."""

from __future__ import annotations

import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from types import FrameType

_log = logging.getLogger("tusd_py.serving")
#: What a worker reports when it serves; anything else it reports is why it cannot.
READY = ""
#: A worker that died is replaced at once, but one that dies again and again must not take the machine with it.
_RESTART_SECONDS = 1.0
#: Beyond the time that requests have to end: for the application to close its stores.
_CLOSING_SECONDS = 5.0
EXIT_STOPPED, EXIT_KILLED, EXIT_FAILED = 0, 1, 2


class WorkerFailed(Exception):
    """The first workers could not start; the text is for the operator."""


@dataclass(eq=False)
class Worker:
    """One process and the pipe that it reports on; the pipe also tells it when its parent is gone."""

    process: SpawnProcess
    report: Connection
    born_at: float
    place: int
    is_ready: bool = False


class Workers:
    """Keeps ``count`` processes of ``target`` alive until a signal comes.

    ``target(report, place)`` must be picklable; no two that live have the same place, from 0 up to ``count``.
    """

    def __init__(
        self,
        count: int,
        target: Callable[[Connection, int], None],
        *,
        patience_seconds: float,
        on_ready: Callable[[], None],
        on_death: Callable[[int, int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._target = target
        self._patience_seconds = patience_seconds
        self._on_ready = on_ready
        self._on_death = on_death
        self._clock = clock
        self._workers: list[Worker] = []
        self._restart_at = 0.0
        self._has_served = False
        self._signals = 0

    def run(self) -> int:
        """Run until a signal, and return the exit code. Raises ``WorkerFailed`` if none of the first ones can serve."""
        with self._signalled() as wake:
            try:
                while not self._signals:
                    self._fill()
                    self._watch(wake)
                return self._stop(wake)
            finally:
                for worker in self._workers:
                    worker.process.kill()
                    worker.process.join()

    def _fill(self) -> None:
        """Start as many as are missing, unless the last one died too young."""
        while len(self._workers) < self._count and self._clock() >= self._restart_at:
            self._workers.append(self._start())

    def _start(self) -> Worker:
        ours, theirs = SpawnContext().Pipe()
        place = min(set(range(self._count)) - {worker.place for worker in self._workers})
        process = SpawnContext().Process(target=run_target, args=(self._target, theirs, place))
        # Blocked until the worker ignores it (run_target): a terminal's interrupt goes to every process of the group.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        theirs.close()
        return Worker(process, ours, self._clock(), place)

    def _watch(self, wake: socket.socket) -> None:
        """Wait for whatever happens next and see to it."""
        missing = len(self._workers) < self._count
        timeout = max(0.0, self._restart_at - self._clock()) if missing else None
        reports = [worker.report for worker in self._workers if not worker.is_ready]
        wait([wake, *reports, *(worker.process.sentinel for worker in self._workers)], timeout)
        for worker in list(self._workers):
            self._hear(worker)
            if not worker.process.is_alive():
                self._bury(worker)

    def _hear(self, worker: Worker) -> None:
        if worker.is_ready or not worker.report.poll():
            return
        try:
            message = worker.report.recv()
        except (EOFError, OSError):
            worker.process.join(_CLOSING_SECONDS)
            worker.process.kill()
            worker.process.join()
            return
        if message != READY:
            _log.error("worker cannot serve", extra={"pid": worker.process.pid, "reason": message})
            if not self._has_served:
                raise WorkerFailed(message)
            return
        worker.is_ready = True
        _log.info("worker serves", extra={"pid": worker.process.pid})
        if not self._has_served:
            self._has_served = True
            self._on_ready()

    def _bury(self, worker: Worker) -> None:
        """Take a dead worker off the list; its place is filled at once if it had lived for a while."""
        self._workers.remove(worker)
        worker.report.close()
        assert worker.process.pid is not None
        self._on_death(worker.process.pid, worker.place)
        if self._signals:
            return
        if not self._has_served:
            raise WorkerFailed(f"the worker process ended with exit code {worker.process.exitcode} before it served")
        _log.error("worker died", extra={"pid": worker.process.pid, "exit_code": worker.process.exitcode})
        self._restart_at = max(self._restart_at, worker.born_at + _RESTART_SECONDS)

    def _stop(self, wake: socket.socket) -> int:
        """Ask every worker to end and wait for them; a second signal, or a worker that will not, ends with a kill."""
        wake.recv(4096)
        _log.info("stopping", extra={"workers": len(self._workers), "patience_seconds": self._patience_seconds})
        for worker in self._workers:
            worker.process.terminate()
        deadline = self._clock() + self._patience_seconds + _CLOSING_SECONDS
        while self._workers and self._signals == 1 and self._clock() < deadline:
            sentinels = [worker.process.sentinel for worker in self._workers]
            wait([wake, *sentinels], deadline - self._clock())
            for worker in [worker for worker in self._workers if not worker.process.is_alive()]:
                self._bury(worker)
        return EXIT_KILLED if self._workers else EXIT_STOPPED

    @contextmanager
    def _signalled(self) -> Iterator[socket.socket]:
        """A socket that becomes readable when SIGINT or SIGTERM has come."""
        reader, writer = socket.socketpair()
        with reader, writer:
            reader.setblocking(False)
            writer.setblocking(False)
            before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
            wakeup_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
            try:
                yield reader
            finally:
                signal.set_wakeup_fd(wakeup_before)
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1


def run_target(target: Callable[[Connection, int], None], report: Connection, place: int) -> None:
    """The first thing a worker does: leave the terminal's interrupt to its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    target(report, place)
