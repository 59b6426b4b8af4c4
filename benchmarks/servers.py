"""Starts a server on its own core over an empty directory, and stops it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.machine import Cores

_ENDPOINT = re.compile(rb"(?:tus endpoint|upload files to:)\s+(http\S+)\s")
_START_SECONDS = 30.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.005


class ServerUnavailable(Exception):
    """A server is not available on this machine; the message says why."""


@dataclass(frozen=True)
class Recipe:
    """One server: its short name, its name and version, and the command that serves a directory."""

    name: str
    title: str
    command: Callable[[Path], Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    is_upper_bound: bool = False  # not a tus server: it shows what the machine can do


@dataclass(frozen=True)
class Server:
    """A server that accepts connections at ``url`` (its tus endpoint)."""

    recipe: Recipe
    process_id: int
    url: str
    started_at: float  # by time.perf_counter()

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    @property
    def path(self) -> str:
        return urlsplit(self.url).path


@contextmanager
def running(recipe: Recipe, directory: Path, cores: Cores) -> Iterator[Server]:
    """Run the server over an empty ``directory`` on the server's core; then stop it and delete the directory."""
    shutil.rmtree(directory, ignore_errors=True)
    data = directory / "data"
    data.mkdir(parents=True)
    # Files, not pipes, which would have to be read: tusd writes lines for each request and cannot be silenced.
    output, log = directory / "output", directory / "log"
    environment = {name: value for name, value in os.environ.items() if not _is_ours(name)}
    # A child inherits the cores of the thread that starts it.
    os.sched_setaffinity(0, cores.server)
    started_at = time.perf_counter()
    try:
        with output.open("wb") as output_file, log.open("wb") as log_file:
            process = subprocess.Popen(
                list(recipe.command(data)),
                stdout=output_file,
                stderr=log_file,
                # Another directory may contain a config.toml, or modules that Python would import.
                cwd=directory,
                env={**environment, **recipe.environment},
                start_new_session=True,
            )
    finally:
        os.sched_setaffinity(0, cores.load)
    try:
        yield Server(recipe, process.pid, _endpoint(process, output, log), started_at)
    finally:
        _stop(process)
        shutil.rmtree(directory, ignore_errors=True)


def _is_ours(name: str) -> bool:
    """Whether a variable of the environment is a setting of this machine that would change what is measured.

    A Python that may keep no compiled modules compiles them at each start, and keeps more memory after that.
    """
    return name.startswith("TUSD_PY_") or name == "PYTHONDONTWRITEBYTECODE"


def _endpoint(process: subprocess.Popen[bytes], output: Path, log: Path) -> str:
    """Wait until the server's output names the endpoint, and return the endpoint."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        has_ended = process.poll() is not None
        if match := _ENDPOINT.search(output.read_bytes()):
            return match[1].decode()
        if has_ended:
            break
        time.sleep(_POLL_SECONDS)
    last_line = (output.read_bytes() + log.read_bytes()).decode(errors="replace").strip().splitlines()[-1:]
    raise ServerUnavailable(f"did not start: {''.join(last_line) or 'it printed nothing'}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate the server, and kill every process of its session that is left."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_STOP_SECONDS)
