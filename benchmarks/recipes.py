"""The recipes of all servers: ours from this environment; the peers are installed on first use, in locked versions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from benchmarks.servers import Recipe, ServerUnavailable

_HERE = Path(__file__).parent
_PEERS = _HERE / "peers"
#: Where tusd is built if only Go is at hand: about two and a half minutes, once.
_TUSD = _HERE / ".venv-tusd" / "tusd"
_TUSD_MODULE = "github.com/tus/tusd/v2/cmd/tusd@latest"

#: High, not off, so that counting is measured too.
_LIMITS = {
    "TUSD_PY_SERVER__CONNECTIONS_PER_ADDRESS_MAX": "1000000",
    "TUSD_PY_UPLOADS__EMPTY_PER_CLIENT_MAX": "1000000",
}


def ours() -> Recipe:
    """tusd-py as shipped: one process and default settings, but for limits that a single client of a load reaches."""

    def command(data: Path) -> Sequence[str]:
        options = ["--host", "127.0.0.1", "--port", "0", "--data-dir", str(data)]
        return [sys.executable, "-m", "tusd_py", "serve", *options]

    return Recipe("ours", f"tusd-py {metadata.version('tusd-py')}", command, _LIMITS)


def before(checkout: Path) -> Recipe:
    """Another checkout of this project, run by the interpreter of its own ``.venv`` (which ``make run`` creates)."""
    python = checkout / ".venv" / "bin" / "python"
    if not python.exists():
        raise ServerUnavailable(f"{python} does not exist; run make in {checkout} first")
    revision = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()

    def command(data: Path) -> Sequence[str]:
        options = ["--host", "127.0.0.1", "--port", "0", "--data-dir", str(data)]
        return [str(python), "-m", "tusd_py", "serve", *options]

    # Versions before these settings refuse to start with them.
    has_limits = "empty_per_client_max" in (checkout / "config.toml").read_text()
    return Recipe("before", f"tusd-py at {revision}", command, _LIMITS if has_limits else {})


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
    """tuspyserver under FastAPI and uvicorn."""
    return _python_peer("tuspyserver")


def resumable_upload() -> Recipe:
    """resumable-upload over its SQLite storage, under uvicorn."""
    return _python_peer("resumable-upload")


def _python_peer(name: str) -> Recipe:
    """A peer from PyPI in an environment of its own, which is created again when the lock file changes."""
    stem = name.replace("-", "_")
    lock, environment = _PEERS / f"{stem}.lock", _HERE / f".venv-{name}"
    python, stamp = environment / "bin" / "python", environment / "installed"
    wanted = sys.version + lock.read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        _install([sys.executable, "-m", "venv", "--clear", str(environment)], _HERE)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _install([*pip, "--require-hashes", "-r", str(lock)], _HERE)
        stamp.write_text(wanted)
    pinned = next(line for line in lock.read_text().splitlines() if line.startswith(f"{name}=="))
    version = pinned.removeprefix(f"{name}==").split()[0]
    app = str(_PEERS / f"{stem}_app.py")
    return Recipe(name, f"{name} {version} (uvicorn)", lambda data: [str(python), app, str(data)])


def tusd() -> Recipe:
    """The tusd binary on PATH, or one built with Go, with its local disk store and the fewest lines in its log."""
    program = shutil.which("tusd") or str(_built_tusd())
    version = _tusd_version(program)

    def command(data: Path) -> Sequence[str]:
        options = ["-host=127.0.0.1", "-port=0", "-base-path=/files/", f"-upload-dir={data}"]
        return [program, *options, "-verbose=false"]

    return Recipe("tusd", f"tusd {version}", command)


def _built_tusd() -> Path:
    if not _TUSD.exists():
        if (go := shutil.which("go")) is None:
            raise ServerUnavailable("neither tusd nor go is on PATH")
        _TUSD.parent.mkdir(exist_ok=True)
        _install([go, "install", _TUSD_MODULE], _TUSD.parent, GOBIN=str(_TUSD.parent))
    return _TUSD


def _tusd_version(program: str) -> str:
    """What the binary says, or else the version of the module that it was built from: only releases know their own."""
    output = subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stdout
    versions = [line.split()[1] for line in output.splitlines() if line.startswith("Version:")]
    if versions and versions[0] != "n/a":
        return versions[0]
    if (go := shutil.which("go")) is not None:
        built = subprocess.run([go, "version", "-m", program], capture_output=True, text=True, check=False).stdout
        versions = [line.split()[2] for line in built.splitlines() if line.split()[:1] == ["mod"]]
    return versions[0] if versions else "of unknown version"


def floor() -> Recipe:
    """The least CPU time of a Python server: a trivial ASGI application on the server that tusd-py uses."""
    program = str(_PEERS / "floor_app.py")
    title = f"trivial ASGI application (uvicorn {metadata.version('uvicorn')})"
    return Recipe("floor", title, lambda data: [sys.executable, program, str(data)], is_upper_bound=True)


def raw() -> Recipe:
    """The upper bound of this machine: a loop of splice(2) from socket to file, which is not a tus server."""
    if not hasattr(os, "splice"):
        raise ServerUnavailable("this system has no splice(2)")
    program = str(_PEERS / "raw_splice.py")
    return Recipe("raw", "raw splice loop", lambda data: [sys.executable, program, str(data)], is_upper_bound=True)


ALL: dict[str, Callable[[], Recipe]] = {
    "ours": ours,
    "raw": raw,
    "floor": floor,
    "tusd": tusd,
    "node": node,
    "tuspyserver": tuspyserver,
    "resumable-upload": resumable_upload,
}


def usual() -> list[str]:
    """The servers of a whole run: all that can be installed here, and tusd if it is there or can be built."""
    can_run_tusd = shutil.which("tusd") or _TUSD.exists() or shutil.which("go")
    return [name for name in ALL if name != "tusd" or can_run_tusd]


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ServerUnavailable(f"{name} is not on PATH")
    return found


def _install(command: Sequence[str], directory: Path, **environment: str) -> None:
    variables = {**os.environ, **environment}
    done = subprocess.run(list(command), cwd=directory, capture_output=True, text=True, check=False, env=variables)
    if done.returncode:
        raise ServerUnavailable(f"{' '.join(command[:3])} failed: {done.stderr[-1000:]}")
