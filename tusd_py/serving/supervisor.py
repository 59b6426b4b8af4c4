"""Runs several server processes on the same sockets: starts, watches and replaces them, and stops them together."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType

from tusd_py.serving.fork_server import ForkServer

_log = logging.getLogger("tusd_py.serving")
#: What a server process reports when it accepts connections; any other report is the reason why it cannot start.
READY = ""
#: A process that exited is replaced at once, but at most once in this time: one that crashes at every start must not
#: use up the machine.
_RESTART_SECONDS = 1.0
#: Added to the time that requests have to end: the application closes its stores after them.
_CLOSING_SECONDS = 5.0
EXIT_STOPPED, EXIT_KILLED = 0, 1
#: A terminal sends these to every process of the group; a new process must not end by them before it handles them.
_HELD_BACK = {signal.SIGINT, signal.SIGHUP, signal.SIGUSR2}
#: Blocked where a process is started. The fork server keeps them blocked: if it ended by one, the server processes
#: that it has started would seem to have exited.
_BLOCKED = {*_HELD_BACK, signal.SIGTERM}


class ServerProcessFailed(Exception):
    """None of the first server processes could start; the text is for the operator."""


@dataclass(eq=False)
class ServerProcess:
    """One process and the pipe on which it reports. When the parent exits, the pipe closes and the process stops."""

    process: BaseProcess
    report: Connection
    started_at: float
    slot: int
    is_ready: bool = False


class Supervisor:
    """Keeps ``count`` processes of ``target`` running until a signal arrives.

    ``target(report, slot)`` must be picklable. Slots are numbers from 0 to ``count - 1``; no two running processes have
    the same one.

    ``fork_server`` starts them.
    """

    def __init__(
        self,
        count: int,
        target: Callable[[Connection, int], None],
        *,
        fork_server: ForkServer,
        grace_seconds: float,
        on_ready: Callable[[], None],
        on_exit: Callable[[int, int], None],
        on_hangup: Callable[[], None] = lambda: None,
        may_restart: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._target = target
        self._fork_server = fork_server
        self._grace_seconds = grace_seconds
        self._on_ready = on_ready
        self._on_exit = on_exit
        self._on_hangup = on_hangup
        self._may_restart = may_restart
        self._clock = clock
        self._processes: list[ServerProcess] = []
        self._restart_at = 0.0
        self._was_ready = False
        self._signals = 0
        #: Whether ``run`` returned because a new program is to take over.
        self.restarts = False

    def run(self) -> int:
        """Run until a signal arrives and return the exit code.

        Raises ``ServerProcessFailed`` if a process fails before any has accepted connections.
        """
        with self._signal_socket() as signal_socket:
            try:
                while not self._signals:
                    self._start_missing()
                    self._wait_for_change(signal_socket)
                return self._stop(signal_socket)
            finally:
                for child in self._processes:
                    child.process.kill()
                    child.process.join()
                if self.restarts:
                    self._fork_server.discard()

    def _start_missing(self) -> None:
        while len(self._processes) < self._count and self._clock() >= self._restart_at:
            self._processes.append(self._start())

    def _start(self) -> ServerProcess:
        ours, theirs = self._fork_server.context.Pipe()
        slot = min(set(range(self._count)) - {child.slot for child in self._processes})
        arguments = (self._target, theirs, slot)
        process: BaseProcess = self._fork_server.context.Process(target=run_target, args=arguments)
        # The first start would run this while the signals are blocked, and it unblocks SIGINT at its end.
        resource_tracker.ensure_running()
        # Ctrl-C in a terminal sends SIGINT to every process of the group. The child inherits the blocked signal until
        # it ignores it in run_target.
        signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
        try:
            self._fork_server.start(process)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)
        theirs.close()
        return ServerProcess(process, ours, self._clock(), slot)

    def _wait_for_change(self, signal_socket: socket.socket) -> None:
        """Wait for a signal, a report, an exit or the time of the next restart, and handle it."""
        missing = len(self._processes) < self._count
        timeout = max(0.0, self._restart_at - self._clock()) if missing else None
        reports = [child.report for child in self._processes if not child.is_ready]
        wait([signal_socket, *reports, *(child.process.sentinel for child in self._processes)], timeout)
        with suppress(BlockingIOError):
            signal_socket.recv(4096)
        for child in list(self._processes):
            self._read_report(child)
            if not child.process.is_alive():
                self._reap(child)

    def _read_report(self, child: ServerProcess) -> None:
        if child.is_ready or not child.report.poll():
            return
        try:
            message = child.report.recv()
        except (EOFError, OSError):
            child.process.join(_CLOSING_SECONDS)
            child.process.kill()
            child.process.join()
            return
        if message != READY:
            _log.error(
                "server process %d could not start", child.slot, extra={"pid": child.process.pid, "reason": message}
            )
            if not self._was_ready:
                raise ServerProcessFailed(message)
            return
        child.is_ready = True
        _log.info("server process %d ready", child.slot, extra={"pid": child.process.pid})
        if not self._was_ready:
            self._was_ready = True
            self._on_ready()

    def _reap(self, child: ServerProcess) -> None:
        """Remove an exited process; it is replaced at once unless it had been started less than a second ago."""
        assert child.process.pid is not None
        self._processes.remove(child)
        if _still_runs(child):
            # The fork server was killed, so that nothing reports the exit. No second process may have the same slot.
            with suppress(ProcessLookupError):
                os.kill(child.process.pid, signal.SIGKILL)
            wait([child.report], _CLOSING_SECONDS)  # its end of the pipe is closed when it has ended
        child.report.close()
        self._on_exit(child.process.pid, child.slot)
        if self._signals:
            return
        if not self._was_ready:
            raise ServerProcessFailed(
                f"a server process exited with code {child.process.exitcode} before it accepted connections"
            )
        _log.error(
            "server process %d exited",
            child.slot,
            extra={"pid": child.process.pid, "exit_code": child.process.exitcode},
        )
        self._restart_at = max(self._restart_at, child.started_at + _RESTART_SECONDS)

    def _stop(self, signal_socket: socket.socket) -> int:
        """Send SIGTERM to every process and wait; after a second signal or the grace period ``run`` kills the rest."""
        _log.info("stopping", extra={"processes": len(self._processes), "grace_seconds": self._grace_seconds})
        for child in self._processes:
            child.process.terminate()
        deadline = self._clock() + self._grace_seconds + _CLOSING_SECONDS
        while self._processes and self._signals == 1 and self._clock() < deadline:
            sentinels = [child.process.sentinel for child in self._processes]
            wait([signal_socket, *sentinels], deadline - self._clock())
            for child in [child for child in self._processes if not child.process.is_alive()]:
                self._reap(child)
        return EXIT_KILLED if self._processes else EXIT_STOPPED

    @contextmanager
    def _signal_socket(self) -> Iterator[socket.socket]:
        """A socket that becomes readable when SIGINT or SIGTERM arrives."""
        reader, writer = socket.socketpair()
        with reader, writer:
            reader.setblocking(False)
            writer.setblocking(False)
            before = {number: signal.signal(number, self._count_signal) for number in (signal.SIGINT, signal.SIGTERM)}
            # These keep their handlers: their default would end the process.
            signal.signal(signal.SIGHUP, self._pass_on_hangup)
            signal.signal(signal.SIGUSR2, self._restart)
            wakeup_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
            try:
                yield reader
            finally:
                signal.set_wakeup_fd(wakeup_before)
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _count_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1

    def _pass_on_hangup(self, number: int, frame: FrameType | None) -> None:
        self._on_hangup()
        for child in self._processes:
            if child.process.pid is not None and child.process.is_alive():
                os.kill(child.process.pid, signal.SIGHUP)

    def _restart(self, number: int, frame: FrameType | None) -> None:
        if not self._signals and self._may_restart():
            self.restarts = True
            self._signals += 1


def _still_runs(child: ServerProcess) -> bool:
    """Whether the process holds its end of the pipe, which no other process has."""
    try:
        while child.report.poll():
            child.report.recv()
    except (EOFError, OSError):
        return False
    return True


def run_target(target: Callable[[Connection, int], None], report: Connection, slot: int) -> None:
    """Run ``target`` in the new process, ignoring the signals that the parent handles and passes on."""
    for number in _HELD_BACK:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)
    target(report, slot)
