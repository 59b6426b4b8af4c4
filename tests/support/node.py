"""Runs the real tus-js-client under Node, and reads the files of packages, at the versions of the lock file."""

from __future__ import annotations

import fcntl
import json
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.programs import find_program

FOLDER = Path(__file__).parent.parent / "clients" / "node"


@dataclass(frozen=True)
class Outcome:
    """What one run of the driver reported."""

    url: str
    succeeded: bool
    requests: list[dict[str, Any]]  # method, url, headers sent, status (None when no answer came)
    previous: int  # uploads that were in the URL storage at the start
    error: str | None

    def methods(self) -> list[str]:
        return [request["method"] for request in self.requests]

    def of(self, method: str) -> list[dict[str, Any]]:
        return [request for request in self.requests if request["method"] == method]


def upload(timeout_seconds: float = 60.0, **arguments: Any) -> Outcome:
    """Run ``upload.mjs`` with these arguments (listed in its first lines) and return its report."""
    process = subprocess.run(
        [_with_packages(), str(FOLDER / "upload.mjs"), json.dumps(arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-4000:]
    return Outcome(**json.loads(process.stdout))


def node() -> str:
    """The path of node. If it is not installed, the test is skipped, or fails in CI."""
    return _found("node")


def package_file(path: str) -> str:
    """The text of a file of an installed package, such as ``axe-core/axe.min.js``."""
    _with_packages()
    return (FOLDER / "node_modules" / path).read_text()


@cache
def installed(folder: Path) -> str:
    """The path of node, after the packages of the lock file in ``folder`` are installed there."""
    _install(_found("npm"), folder)
    return node()


def _with_packages() -> str:
    return installed(FOLDER)


def _found(program: str) -> str:
    return find_program(program, "Node.js with npm is not installed (Debian: nodejs, npm)")


def _install(npm: str, folder: Path) -> None:
    """``npm ci``, once for each state of the lock file, by one test process at a time."""
    wanted = (folder / "package-lock.json").read_text()
    stamp = folder / "node_modules" / ".installed"
    with (folder / "package.json").open() as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True, timeout=300)
        stamp.write_text(wanted)
