"""Finds the fastest Python on PATH and says how an interpreter was built.

``python benchmarks/interpreter.py`` prints the path of the fastest one; ``make bench`` uses it. It uses the standard
library only, because it runs before anything is installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

_VERSIONS = ("python3", "python3.11", "python3.12", "python3.13", "python3.14")
_MINIMUM = (3, 11)
_TRY = "--try"
_TIMEOUT_SECONDS = 60


def candidates() -> list[str]:
    """The programs on PATH with the name of a Python that may be new enough."""
    found = []
    for directory in os.get_exec_path():
        for name in _VERSIONS:
            program = Path(directory) / name
            if program.is_file() and os.access(program, os.X_OK):
                found.append(str(program))
    return found


def fastest() -> str:
    """The path of the interpreter that takes the least CPU time for some ordinary Python; this one if there is none."""
    measured: dict[str, float] = {}
    for program in candidates():
        command = [program, "-I", __file__, _TRY]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        # A program may only be the name of another one, which it prints: version managers use such names.
        path, _, seconds = done.stdout.strip().rpartition(" ")
        if done.returncode == 0 and path:
            measured[path] = min(float(seconds), measured.get(path, float("inf")))
    return min(measured, key=lambda path: measured[path]) if measured else sys.executable


def build_flags() -> str:
    """Whether this interpreter was built with the optimisations that its build options name."""
    options = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    flags = [name for option, name in (("--enable-optimizations", "PGO"), ("--with-lto", "LTO")) if option in options]
    # Debian and some others optimise by other means than these options.
    return " and ".join(flags) if flags else "CONFIG_ARGS name neither PGO nor LTO"


class _Value:
    __slots__ = ("name", "number")

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name


def _try() -> float:
    """The CPU seconds of what a server does most: small objects, dictionaries, attributes and bytes."""
    started = time.process_time()
    values: dict[str, _Value] = {}
    total = 0
    for number in range(60_000):
        value = _Value(number, str(number))
        values[value.name] = value
        total += len(b"%d" % number)
        headers = [(b"a", b"b"), *[(b"c", value.name.encode())]]
        if value.name.startswith("9"):
            total += values[value.name].number + len(dict(headers))
    return time.process_time() - started


def _is_usable() -> bool:
    try:
        import venv  # noqa: F401  # Debian packages it separately
    except ImportError:
        return False
    return sys.version_info >= _MINIMUM


if __name__ == "__main__":
    if _TRY not in sys.argv:
        print(fastest())
    elif not _is_usable():
        sys.exit(1)
    else:
        print(getattr(sys, "_base_executable", sys.executable), min(_try() for _ in range(5)))
