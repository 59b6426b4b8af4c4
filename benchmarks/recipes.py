"""How each server is had: ours from this environment, the peers installed on first use from locked versions."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from benchmarks.servers import Recipe, ServerUnavailable

_HERE = Path(__file__).parent
_PEERS = _HERE / "peers"
_PYTHON_PEER = _HERE / ".venv-tuspyserver"
_PYTHON_LOCK = _PEERS / "tuspyserver.lock"


def ours() -> Recipe:
    """tusd-py as shipped: default settings, one process."""

    def command(data: Path) -> Sequence[str]:
        place = ["--host", "127.0.0.1", "--port", "0", "--data-dir", str(data)]
        return [sys.executable, "-m", "tusd_py", "serve", *place]

    return Recipe("ours", f"tusd-py {metadata.version('tusd-py')}", command)


def node() -> Recipe:
    """@tus/server over its FileStore, under Node.js."""
    program, npm = _program("node"), _program("npm")
    installed = _PEERS / "node_modules" / "@tus" / "server" / "package.json"
    wanted = json.loads((_PEERS / "package.json").read_text())["dependencies"]["@tus/server"]
    if not installed.exists() or json.loads(installed.read_text())["version"] != wanted:
        _install([npm, "ci", "--no-audit", "--no-fund"], _PEERS)
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    title = f"@tus/server {wanted} (Node.js {version.removeprefix('v')})"
    return Recipe(
        "node",
        title,
        lambda data: [program, str(_PEERS / "node.mjs"), str(data)],
        {"NODE_ENV": "production"},
    )


def tuspyserver() -> Recipe:
    """tuspyserver under FastAPI and uvicorn, in an environment of its own."""
    python = _PYTHON_PEER / "bin" / "python"
    stamp = _PYTHON_PEER / "installed.lock"
    if not stamp.exists() or stamp.read_bytes() != _PYTHON_LOCK.read_bytes():
        _install([sys.executable, "-m", "venv", "--clear", str(_PYTHON_PEER)], _HERE)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _install([*pip, "--require-hashes", "-r", str(_PYTHON_LOCK)], _HERE)
        stamp.write_bytes(_PYTHON_LOCK.read_bytes())
    pinned = next(line for line in _PYTHON_LOCK.read_text().splitlines() if line.startswith("tuspyserver=="))
    version = pinned.removeprefix("tuspyserver==").split()[0]
    app = str(_PEERS / "tuspyserver_app.py")
    return Recipe("tuspyserver", f"tuspyserver {version} (uvicorn)", lambda data: [str(python), app, str(data)])


def tusd() -> Recipe:
    """The tusd binary on PATH, on its local disk store, not logging requests."""
    program = _program("tusd")
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stdout
    version = next((line.split()[1] for line in said.splitlines() if line.startswith("Version:")), "of unknown version")

    def command(data: Path) -> Sequence[str]:
        place = ["-host=127.0.0.1", "-port=0", "-base-path=/files/", f"-upload-dir={data}"]
        return [program, *place, "-verbose=false"]

    return Recipe("tusd", f"tusd {version}", command)


ALL: dict[str, Callable[[], Recipe]] = {"ours": ours, "node": node, "tuspyserver": tuspyserver, "tusd": tusd}


def usual() -> list[str]:
    """The servers of a whole run: all that install themselves, and tusd where it happens to be."""
    return [name for name in ALL if name != "tusd" or shutil.which("tusd")]


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ServerUnavailable(f"{name} is not on PATH")
    return found


def _install(command: Sequence[str], directory: Path) -> None:
    done = subprocess.run(list(command), cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerUnavailable(f"{' '.join(command[:3])} failed: {done.stderr[-1000:]}")
