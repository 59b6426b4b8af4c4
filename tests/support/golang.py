"""Builds Go programs of the tests: a receiver of hooks with tusd's types, tusd itself, an S3 server, and a referee."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.support.programs import find_program

CLIENTS = Path(__file__).parent.parent / "clients"
RECEIVER = CLIENTS / "tusd_receiver"
PORCUPINE = CLIENTS / "porcupine"
#: The version in the receiver's go.mod.
TUSD = "v2.9.1"
#: A small S3 server over a directory.
VERSITYGW = "v1.8.0"
#: Go keeps what it has compiled, but links a program anew each time.
_BUILT = Path(tempfile.gettempdir()) / f"tusd-py-go-{os.getuid()}"
_BUILD_SECONDS = 900.0


@cache
def receiver_program() -> Path:
    """The receiver. Without Go the test is skipped, or fails in CI."""
    program = _BUILT / "receiver"
    _go("build", "-o", str(program), ".", directory=RECEIVER)
    return program


@cache
def porcupine_program() -> Path:
    """The referee of histories, built with Porcupine. Without Go the test is skipped, or fails in CI."""
    program = _BUILT / "porcupine"
    _go("build", "-o", str(program), ".", directory=PORCUPINE)
    return program


@cache
def tusd_program() -> Path:
    """tusd, which takes minutes to compile the first time."""
    _go("install", f"github.com/tus/tusd/v2/cmd/tusd@{TUSD}", directory=_BUILT)
    return _BUILT / "tusd"


@cache
def versitygw_program() -> Path:
    """An S3 server, which takes about two minutes to compile the first time."""
    if (found := shutil.which("versitygw")) is not None:
        return Path(found)
    program = _BUILT / "versitygw"
    if not program.exists():
        _go("install", f"github.com/versity/versitygw/cmd/versitygw@{VERSITYGW}", directory=_BUILT)
    return program


def _go(*arguments: str, directory: Path) -> None:
    go = find_program("go", "Go is not installed (Debian: golang)")
    _BUILT.mkdir(exist_ok=True)
    environment = {**os.environ, "GOBIN": str(_BUILT)}
    subprocess.run([go, *arguments], cwd=directory, env=environment, check=True, timeout=_BUILD_SECONDS)
