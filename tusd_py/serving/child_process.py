"""Runs the worker as a child process of the server: starts it, restarts it when it exits, and stops it last."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_log = logging.getLogger("tusd_py.serving")

_RESTART_SECONDS = 0.2
_RESTART_SECONDS_MAX = 10.0
# A process that has run for this long did not exit because of how it was started: the delay begins again.
_STEADY_SECONDS = 30.0


class SupervisedChild:
    """Keeps one process of ``command`` running, supervised by a thread.

    ``{descriptor}`` in the command is replaced by the number of a pipe's read end. The child reads ``stdin_line`` from
    it, then further lines that ``send_line`` writes, and at its end of file it exits: the kernel also closes the pipe
    when this process is killed.
    """

    def __init__(self, command: Sequence[str], stdin_line: bytes, *, grace_seconds: float) -> None:
        self._command = command
        self._stdin_line = stdin_line
        self._grace_seconds = grace_seconds
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._thread = threading.Thread(target=self._keep_running, name="supervised-child", daemon=True)

    @property
    def pid(self) -> int | None:
        """The id of the process that was started last; ``None`` before the first start."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the supervising thread, which starts the process."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the process to exit and wait for it; after ``grace_seconds`` it is killed."""
        with self._lock:
            self._stopping.set()
            self._close_lifeline()
        self._thread.join(self._grace_seconds)
        if self._thread.is_alive() and self._process is not None:
            _log.warning("job worker did not stop in time, killing it", extra={"pid": self._process.pid})
            self._process.kill()
            self._thread.join()

    def send_line(self, line: bytes) -> None:
        """Replace ``stdin_line``, also for the process that runs. Returns at once: a thread writes the line."""
        with self._lock:
            self._stdin_line = line
            if self._lifeline < 0:
                return
            # Of its own: the process may exit, and the lifeline be closed, while the thread waits for a full pipe.
            pipe = os.dup(self._lifeline)
        threading.Thread(target=self._write, args=(pipe, line), name="child-line", daemon=True).start()

    def _write(self, pipe: int, line: bytes) -> None:
        with self._writing, open(pipe, "wb", buffering=0) as file:
            try:
                while line:
                    line = line[file.write(line) :]
            except BrokenPipeError:
                return  # it has exited; the next one gets the line when it starts

    def _keep_running(self) -> None:
        wait_seconds = _RESTART_SECONDS
        while not self._stopping.is_set():
            started_at = time.monotonic()
            try:
                process = self._start()
            except OSError as error:
                _log.error("could not start the job worker, retrying", extra={"reason": str(error)})
                self._stopping.wait(_RESTART_SECONDS_MAX)
                continue
            if process is None:
                return
            code = process.wait()
            if self._stopping.is_set():
                return
            steady = time.monotonic() - started_at > _STEADY_SECONDS
            wait_seconds = _RESTART_SECONDS if steady else min(wait_seconds * 2, _RESTART_SECONDS_MAX)
            _log.error(
                "job worker exited, restarting",
                extra={"pid": process.pid, "exit_code": code, "after_seconds": wait_seconds},
            )
            with self._lock:
                self._close_lifeline()
            self._stopping.wait(wait_seconds)

    def _start(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stopping.is_set():
                return None
            read_end, self._lifeline = os.pipe()
            command = [word.replace("{descriptor}", str(read_end)) for word in self._command]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[read_end])
            os.close(read_end)
        try:
            # Not in the middle of a line that send_line has for this process already.
            with self._writing:
                os.write(self._lifeline, self._stdin_line)
        except BrokenPipeError:
            return self._process  # it exited before it read the line; the caller logs the exit code
        _log.info("job worker started", extra={"pid": self._process.pid})
        return self._process

    def _close_lifeline(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


@contextmanager
def running(child: SupervisedChild | None) -> Iterator[None]:
    """Run ``child`` during the block; with ``None`` do nothing."""
    if child is None:
        yield
        return
    child.start()
    try:
        yield
    finally:
        child.stop()
