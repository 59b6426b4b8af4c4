"""A process beside the server: started, started again when it dies, and stopped last. It ends when the server does."""

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
# Who has lived so long did not die of how it was started.
_STEADY_SECONDS = 30.0


class Companion:
    """Keeps one process of ``command`` alive, in a thread of its own.

    ``{descriptor}`` in the command becomes the number of a descriptor of the child. ``greeting`` can be read there, and
    nothing after it; its end means that the child shall end: the kernel closes it too, when this process is killed.
    """

    def __init__(self, command: Sequence[str], greeting: bytes, *, patience_seconds: float) -> None:
        self._command = command
        self._greeting = greeting
        self._patience_seconds = patience_seconds
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._leash = -1
        self._thread = threading.Thread(target=self._keep_alive, name="companion", daemon=True)

    @property
    def pid(self) -> int | None:
        """The process that was started last; ``None`` before the first."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the process to end and wait for that; one that takes longer than its patience is killed."""
        with self._lock:
            self._stopping.set()
            self._let_go()
        self._thread.join(self._patience_seconds)
        if self._thread.is_alive() and self._process is not None:
            _log.warning("the worker is killed", extra={"pid": self._process.pid})
            self._process.kill()
            self._thread.join()

    def _keep_alive(self) -> None:
        wait_seconds = _RESTART_SECONDS
        while not self._stopping.is_set():
            born_at = time.monotonic()
            try:
                process = self._start()
            except OSError as error:
                _log.error("the worker cannot be started; it is tried again", extra={"reason": str(error)})
                self._stopping.wait(_RESTART_SECONDS_MAX)
                continue
            if process is None:
                return
            code = process.wait()
            if self._stopping.is_set():
                return
            steady = time.monotonic() - born_at > _STEADY_SECONDS
            wait_seconds = _RESTART_SECONDS if steady else min(wait_seconds * 2, _RESTART_SECONDS_MAX)
            _log.error(
                "the worker died; another is started",
                extra={"pid": process.pid, "exit_code": code, "after_seconds": wait_seconds},
            )
            with self._lock:
                self._let_go()
            self._stopping.wait(wait_seconds)

    def _start(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stopping.is_set():
                return None
            theirs, self._leash = os.pipe()
            command = [word.replace("{descriptor}", str(theirs)) for word in self._command]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs])
            os.close(theirs)
        try:
            os.write(self._leash, self._greeting)
        except BrokenPipeError:
            return self._process  # it died before it could read: its exit code tells
        _log.info("worker started", extra={"pid": self._process.pid})
        return self._process

    def _let_go(self) -> None:
        if self._leash >= 0:
            os.close(self._leash)
            self._leash = -1


@contextmanager
def beside(companion: Companion | None) -> Iterator[None]:
    """Run ``companion``, where there is one, as long as the block does."""
    if companion is None:
        yield
        return
    companion.start()
    try:
        yield
    finally:
        companion.stop()
