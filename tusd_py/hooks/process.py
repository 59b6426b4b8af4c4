"""Runs one program to its end, in bounded time and memory. What it is run for is told elsewhere."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

#: More than any answer: a program that says more has gone wrong.
STDOUT_BYTES_MAX = 1024 * 1024

#: Of what it writes to standard error the beginning is kept; the rest is read and forgotten.
STDERR_BYTES_MAX = 8192

_PIECE_BYTES = 64 * 1024
# Its end shows at once where it closes its output; where another process still holds that open, this soon.
_LOOK_SECONDS = 0.05


class ProcessFailed(Exception):
    """The program did not run to an end of its own; the text follows its name."""


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """What a program left: a negative exit code is the signal that ended it."""

    exit_code: int
    said: bytes
    errors: bytes


class HookProcess:
    """A program with what it reads; in a session of its own, so that all it starts can be ended with it."""

    def __init__(self, path: Path, body: bytes, environment: Mapping[str, str]) -> None:
        self.path = path
        self._unwritten = memoryview(body)
        self._environment = environment
        self._said, self._errors = bytearray(), bytearray()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False
        # Between asking whether it lives and killing it: the id of one that was waited for may be another's by then.
        self._lock = threading.Lock()

    def run(self, timeout_seconds: float) -> ProcessResult:
        """Run it in its directory until it ends. Blocks; raises ``ProcessFailed``, and then nothing of it is left.

        What it has left running when it ends of its own is not waited for, and goes on.
        """
        deadline = time.monotonic() + timeout_seconds
        process = self._start()
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        with ExitStack() as opened:
            for pipe in (process.stdin, process.stdout, process.stderr):
                os.set_blocking(opened.enter_context(pipe).fileno(), False)
            opened.callback(self._end, process)
            selector = opened.enter_context(selectors.DefaultSelector())
            selector.register(process.stdin, selectors.EVENT_WRITE, self._write)
            selector.register(process.stdout, selectors.EVENT_READ, partial(_read, self._said, STDOUT_BYTES_MAX + 1))
            selector.register(process.stderr, selectors.EVENT_READ, partial(_read, self._errors, STDERR_BYTES_MAX))
            _wake_at_end(process, selector, opened)
            self._attend(process, selector, deadline)
        return ProcessResult(process.returncode, bytes(self._said), bytes(self._errors))

    def kill(self) -> None:
        """End it and whatever it has started, unless it has ended of its own. From any thread, at any time."""
        with self._lock:
            self._is_killed = True
            if self._process is not None and self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._is_killed:
                raise ProcessFailed("was not started any more")
            try:
                self._process = subprocess.Popen(
                    [self.path],
                    cwd=self.path.parent,
                    # Not a setting: programs inherit what the server was started with, as under tusd.
                    env={**os.environ, **self._environment},  # noqa: TID251
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    start_new_session=True,
                )
            except OSError as error:
                raise ProcessFailed(f"could not be started: {error.strerror}; is it executable?") from error
            return self._process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        self.kill()
        while not self._has_ended(process):
            time.sleep(0.001)

    def _attend(self, process: subprocess.Popen[bytes], selector: selectors.BaseSelector, deadline: float) -> None:
        """Write and read until the program has ended. Raises ``ProcessFailed``."""
        has_ended, moved = False, 0
        while moved or not has_ended:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ProcessFailed("took too long")
            # First this, then the pipes: what it wrote before its end is in them by now.
            has_ended = self._has_ended(process)
            ready = selector.select(0 if has_ended else min(left, _LOOK_SECONDS))
            moved = sum(key.data(selector, key.fileobj) for key, _ in ready)
            if len(self._said) > STDOUT_BYTES_MAX:
                raise ProcessFailed(f"said more than {STDOUT_BYTES_MAX >> 20} MiB")

    def _has_ended(self, process: subprocess.Popen[bytes]) -> bool:
        with self._lock:
            return process.poll() is not None

    def _write(self, selector: selectors.BaseSelector, pipe: IO[bytes]) -> int:
        try:
            written = os.write(pipe.fileno(), self._unwritten[:_PIECE_BYTES])
        except BrokenPipeError:
            written = len(self._unwritten)  # it need not read what it does not want to know
        self._unwritten = self._unwritten[written:]
        if not self._unwritten:
            selector.unregister(pipe)
            pipe.close()
        return 0


def _wake_at_end(process: subprocess.Popen[bytes], selector: selectors.BaseSelector, opened: ExitStack) -> None:
    """Be woken by its end, whoever still holds its pipes open; where the kernel cannot tell it, it is looked for."""
    if sys.platform == "linux":
        try:
            descriptor = os.pidfd_open(process.pid)
        except OSError:
            return
        opened.callback(os.close, descriptor)
        selector.register(descriptor, selectors.EVENT_READ, lambda _selector, _descriptor: 0)


def _read(kept: bytearray, bytes_max: int, selector: selectors.BaseSelector, pipe: IO[bytes]) -> int:
    """Read what is there and keep of it what there is room for; how much was there."""
    piece = os.read(pipe.fileno(), _PIECE_BYTES)
    kept += piece[: bytes_max - len(kept)]
    if not piece:
        selector.unregister(pipe)
    return len(piece)
