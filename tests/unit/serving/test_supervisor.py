"""The start of server processes; tests/integration/test_serve.py tests what they do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from tusd_py.serving import supervisor
from tusd_py.serving.fork_server import ForkServer
from tusd_py.serving.supervisor import ServerProcess, Supervisor

#: Starts the first two server processes of an interpreter and prints the signals that are blocked where each begins.
CODE = """
from pathlib import Path
from tusd_py.serving.supervisor import Supervisor
from tusd_py.serving.fork_server import ForkServer

template = ForkServer("signal", Path("/tmp"))
supervisor = Supervisor(2, max, fork_server=template, grace_seconds=1.0, on_ready=tuple, on_exit=max)
for _ in range(2):
    child = supervisor._start()
    status = Path(f"/proc/{child.process.pid}/status").read_text()
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk")))
    child.process.kill()
    child.process.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_each_new_process_begins_with_sigint_blocked() -> None:
    """Ctrl-C during the start must not end a process with a traceback before it ignores the signal."""
    printed = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True).stdout
    masks = [int(line, 16) for line in printed.split()]
    assert [bool(mask >> (signal.SIGINT - 1) & 1) for mask in masks] == [True, True]


class Reported:
    """A process of the template that counts as ended, because the template was killed."""

    exitcode = 255

    def __init__(self, pid: int) -> None:
        self.pid = pid


def reap(pid: int, report: Any) -> list[int]:
    """Let a supervisor reap the process ``pid`` whose pipe is ``report``; return the processes it reports as ended."""
    ended = list[int]()
    watched = Supervisor(
        1,
        lambda report, slot: None,
        fork_server=ForkServer("signal", Path("/tmp")),
        grace_seconds=1.0,
        on_ready=lambda: None,
        on_exit=lambda pid, slot: ended.append(pid),
    )
    watched._was_ready = True
    process: Any = Reported(pid)
    child = ServerProcess(process, report, 0.0, 0)
    watched._processes.append(child)
    watched._reap(child)
    return ended


def test_process_that_outlives_the_template_is_killed() -> None:
    """It has a slot that a new process gets: its end is waited for."""
    ours, theirs = Pipe()
    process = subprocess.Popen(["sleep", "60"], pass_fds=[theirs.fileno()])
    theirs.close()
    assert [process.pid] == reap(process.pid, ours)
    assert -signal.SIGKILL == process.wait(10)


def test_process_that_ends_while_it_is_reaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipe was open when it was looked at, and the process is gone when it is killed: the supervisor goes on."""

    def kill(pid: int, number: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(supervisor, "_CLOSING_SECONDS", 0.01)
    ours, theirs = Pipe()
    assert [4711] == reap(4711, ours)
    theirs.close()
