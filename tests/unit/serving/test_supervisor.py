"""The start of server processes; tests/integration/test_serve.py tests what they do."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

#: Starts the first two server processes of an interpreter and prints the signals that are blocked where each begins.
CODE = """
from pathlib import Path
from tusd_py.serving.supervisor import Supervisor
from tusd_py.serving.template import Template

template = Template("signal", Path("/tmp"))
supervisor = Supervisor(2, max, template=template, grace_seconds=1.0, on_ready=tuple, on_exit=max)
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
