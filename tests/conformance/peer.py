"""Install and start ``@tus/server`` from npm for the comparison."""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent / "peers"
_ENDPOINT = re.compile(rb"^tus endpoint\s+(\S+)$", re.MULTILINE)
_START_SECONDS = 30.0


class NoPeer(Exception):
    """Node or npm is missing, or the peer did not start; the text says which."""


@dataclass(frozen=True)
class Peer:
    """A running peer; what it writes to standard error is in ``log``."""

    url: str
    log: Path

    def crashes(self) -> int:
        """How often the process would have crashed if its runner had not kept it alive."""
        return self.log.read_text().count("crash: ")


def versions() -> str:
    """The versions of the peer and of Node, for the heading of the comparison."""
    installed = json.loads((_FOLDER / "node_modules/@tus/server/package.json").read_text())["version"]
    store = json.loads((_FOLDER / "node_modules/@tus/file-store/package.json").read_text())["version"]
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return f"@tus/server {installed} with @tus/file-store {store} on Node {node}"


def install() -> None:
    """Install what package-lock.json names, unless it is there."""
    if shutil.which("npm") is None:
        raise NoPeer("npm is not installed: the comparison needs Node 20 or later with npm")
    if not (_FOLDER / "node_modules").is_dir():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=_FOLDER, check=True)


@contextmanager
def running(data_dir: Path, *flags: str) -> Iterator[Peer]:
    """Run the peer on ``data_dir`` inside the block."""
    data_dir.mkdir()
    log = data_dir.with_suffix(".log")
    with log.open("wb") as errors:
        command = ["node", str(_FOLDER / "tus_node_server.mjs"), str(data_dir), *flags]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
    try:
        yield Peer(_endpoint(process, log), log)
    finally:
        process.terminate()
        process.wait(10)


def _endpoint(process: subprocess.Popen[bytes], log: Path) -> str:
    assert process.stdout is not None
    deadline, said = time.monotonic() + _START_SECONDS, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline and process.poll() is None:
            if selector.select(0.2):
                said += os.read(process.stdout.fileno(), 65536)
                if match := _ENDPOINT.search(said):
                    return match[1].decode()
    raise NoPeer(f"@tus/server did not start; it logged:\n{log.read_text()[-2000:]}")
