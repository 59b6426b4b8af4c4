"""Reads the ``Dockerfile`` and ``.dockerignore``, and runs the lines of its first stage without a container engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
#: What pip and uv say when the registry cannot be reached.
_UNREACHABLE = ("NewConnectionError", "Temporary failure in name resolution", "Network is unreachable", "timed out")


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile: ``RUN``, ``COPY`` ... and what follows it, its lines joined."""

    word: str
    text: str


def stages() -> list[list[Instruction]]:
    """Return the instructions of the Dockerfile, stage by stage, each beginning with its ``FROM``."""
    found: list[list[Instruction]] = []
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, text = line.strip().partition(" ")
        if word == "FROM":
            found.append([])
        if word:
            found[-1].append(Instruction(word, " ".join(text.split())))
    return found


def copied(stage: list[Instruction]) -> list[tuple[list[str], str]]:
    """Return the sources in the build context and the destination of each ``COPY`` of ``stage``."""
    words = [item.text.split() for item in stage if item.word == "COPY" and "--from" not in item.text]
    return [(names[:-1], names[-1]) for names in words]


def is_sent(path: PurePosixPath) -> bool:
    """Return whether ``.dockerignore`` lets the file or directory ``path`` into the build context."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().split():
        pattern = line.removeprefix("!")
        # What a pattern says of a directory holds for everything in it; the last pattern that matches decides.
        if any(_matches(part, pattern) for part in (path, *path.parents) if part.name):
            sent = line.startswith("!")
    return sent


def _matches(path: PurePosixPath, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatchcase(path.name, pattern.removeprefix("**/"))
    parts = PurePosixPath(pattern).parts
    return len(parts) == len(path.parts) and all(map(fnmatchcase, path.parts, parts))


def build(directory: Path) -> tuple[Path, Path]:
    """Run the first stage of the Dockerfile in ``directory``; return the environment and the wheel that it makes.

    ``/opt`` becomes a directory in there, and files that ``.dockerignore`` holds back are not copied.
    """
    source, opt = directory / "src", directory / "opt"
    source.mkdir()
    for item in stages()[0]:
        if item.word == "COPY":
            names, destination = item.text.split()[:-1], item.text.split()[-1]
            for name in names:
                _copy(name, source / destination if len(names) == 1 else source / destination / name)
        elif item.word == "RUN":
            run(item.text.replace("/opt/", f"{opt}/"), source)
    (wheel,) = (source / "dist").iterdir()
    return opt / "tusd-py", wheel


def _copy(name: str, destination: Path) -> None:
    for path in (ROOT / name, *sorted((ROOT / name).rglob("*"))):
        relative = path.relative_to(ROOT)
        if path.is_file() and is_sent(PurePosixPath(relative.as_posix())):
            target = destination / path.relative_to(ROOT / name) if path != ROOT / name else destination
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def run(script: str, directory: Path, **environ: str) -> str:
    """Run a line of shell in ``directory`` and return its output. ``python`` and ``python3`` are those of the tests.

    Fails with what it printed; where the registry cannot be reached it skips, unless ``CI`` is set.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}", **environ}
    done = subprocess.run(
        ["sh", "-euc", script], cwd=directory, env=environment, capture_output=True, text=True, timeout=200
    )
    if done.returncode and not os.environ.get("CI") and any(word in done.stderr for word in _UNREACHABLE):
        pytest.skip("the package registry cannot be reached")
    assert 0 == done.returncode, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout
