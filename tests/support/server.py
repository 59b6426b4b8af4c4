"""Starts ``tusd-py serve`` as a real process on port 0, and stops or kills it. It imports nothing of the server."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_ENDPOINT = re.compile(r"^tus endpoint\s+(\S+)$", re.MULTILINE)
_START_SECONDS = 120.0


@dataclass
class RunningServer:
    """A server process that accepts connections; ``url`` is its tus endpoint (``http://127.0.0.1:PORT/files/``)."""

    process: subprocess.Popen[bytes]
    url: str
    data_dir: Path
    log: Path
    arguments: list[str] = field(default_factory=list)
    is_on_disk: bool = True  # what it stores

    @property
    def port(self) -> int:
        return int(self.url.split(":")[2].split("/")[0])

    @property
    def root(self) -> str:
        """The address without the base path: ``http://127.0.0.1:PORT``."""
        return self.url.split("/files")[0].rstrip("/")

    def stored(self, upload_url: str) -> bytes:
        """The bytes of the upload with this URL, read from the data directory."""
        return (self.data_dir / "uploads" / upload_url.rstrip("/").rsplit("/", 1)[1]).read_bytes()

    def stop(self, timeout_seconds: float = 20.0) -> int:
        """Send SIGTERM and wait; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._close()
        return code

    def kill(self) -> None:
        """Send SIGKILL to the server and every process it started, and wait."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(10)
        self._close()

    def _close(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()


def start_server(
    data_dir: Path,
    *flags: str,
    settings: Mapping[str, str] | None = None,
    port: int = 0,
    log: Path | None = None,
    python_arguments: Sequence[str] = (),
    program: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> RunningServer:
    """Start the server with its data in ``data_dir`` and return when it accepts connections.

    ``settings`` are environment overrides, e.g. ``{"UPLOADS__LENGTH_MAX": "1000"}``. Its log goes to ``log``
    (default: a file beside the data). Raises ``RuntimeError`` with the end of the log if it does not start.
    ``program`` is another ``tusd-py`` than that of the tests; ``variables`` are more of its environment.
    """
    log = log or data_dir.parent / f"{data_dir.name}.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TUSD_PY_")}
    # Without compiled modules a server takes three times as long to start, and some tests start dozens.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment |= {f"TUSD_PY_{name}": value for name, value in (settings or {}).items()} | dict(variables or {})
    arguments = [*(program or (sys.executable, *python_arguments, "-m", "tusd_py")), "serve"]
    arguments += ["--host", "127.0.0.1", "--port", str(port), "--data-dir", str(data_dir), *flags]
    with log.open("ab") as log_file:
        process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=log_file, env=environment, start_new_session=True
        )
    url = _endpoint(process, log)
    is_on_disk = (settings or {}).get("STORAGE__KIND", "disk") == "disk"
    return RunningServer(process, url, data_dir, log, arguments, is_on_disk)


def _endpoint(process: subprocess.Popen[bytes], log: Path) -> str:
    """Read standard output up to the endpoint line; the few lines after it stay in the pipe."""
    assert process.stdout is not None
    output = b""
    deadline = time.monotonic() + _START_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            if selector.select(0.2):
                piece = os.read(process.stdout.fileno(), 65536)
                output += piece
                if match := _ENDPOINT.search(output.decode()):
                    return match[1]
                if not piece:
                    break
    process.kill()
    process.wait()
    process.stdout.close()
    raise RuntimeError(f"the server did not start; it printed {output!r} and logged:\n{log.read_text()[-4000:]}")
