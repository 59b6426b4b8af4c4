"""Starts an application with ``Tus`` mounted in it, under a stock ASGI server on a free port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: The command line of each server; the port follows.
SERVERS = {
    "uvicorn-h11": ["uvicorn", "--http", "h11", "--port"],
    "uvicorn-httptools": ["uvicorn", "--http", "httptools", "--port"],
    "granian": ["granian", "--interface", "asgi", "--port"],
}
_START_SECONDS = 30.0


@dataclass
class MountedServer:
    """A server process that accepts connections; ``root`` has no slash at its end."""

    process: subprocess.Popen[bytes]
    root: str
    folder: Path

    @property
    def port(self) -> int:
        return int(self.root.rsplit(":", 1)[1])

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def stop(self) -> int:
        """Send SIGTERM and wait for the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@contextmanager
def mounted(server: str, app: str, folder: Path, app_dir: Path = ROOT / "examples") -> Iterator[MountedServer]:
    """Run ``app`` (``module:name`` in ``app_dir``) under ``server`` in ``folder``; kill its processes at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [sys.executable, "-m", *SERVERS[server], str(port), "--host", "127.0.0.1", app]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(app_dir), str(ROOT)])}
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            arguments, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    running = MountedServer(process, f"http://127.0.0.1:{port}", folder)
    try:
        _wait_until_open(running, port)
        yield running
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait(10)


def _wait_until_open(running: MountedServer, port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and running.process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"the server did not start:\n{running.log[-4000:]}")
