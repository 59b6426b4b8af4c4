"""Faults in the processes of a server under test: imported by each of them, as its directory is on ``PYTHONPATH``.

Which faults, environment variables say; ``tests.support.faults`` sets them. Without one nothing is changed.
"""

from __future__ import annotations

import functools
import importlib.machinery
import inspect
import os
import signal
import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from types import ModuleType
from typing import Any

#: ``module:function`` or ``module:Class.method``, ``before`` or ``after`` it, the number of the call in this process,
#: and a file: the first process that gets there makes it and is killed.
KILL = os.environ.get("TEST_KILL", "")
#: A file with the seconds to add to the clock.
CLOCK = os.environ.get("TEST_CLOCK", "")
#: A host whose name is never resolved.
HANGING_HOST = os.environ.get("TEST_HANGING_HOST", "")
_HANG_SECONDS = 120.0


def kill_once(marker: str) -> None:
    """Kill this process like ``kill -9``, if no process was killed before."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(function: Callable[..., Any], when: str, number: int, marker: str) -> Callable[..., Any]:
    """``function``, whose call ``number`` kills the process before or after it."""
    calls = 0

    def is_due() -> bool:
        nonlocal calls
        calls += 1
        return calls == number

    @functools.wraps(function)
    async def run_async(*args: Any, **kwargs: Any) -> Any:
        due = is_due()
        if due and when == "before":
            kill_once(marker)
        result = await function(*args, **kwargs)
        if due:
            kill_once(marker)
        return result

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        due = is_due()
        if due and when == "before":
            kill_once(marker)
        result = function(*args, **kwargs)
        if due:
            kill_once(marker)
        return result

    return run_async if inspect.iscoroutinefunction(function) else run


def aim(module: ModuleType, path: str, when: str, number: int, marker: str) -> None:
    """Replace the function at ``path`` in ``module`` by one that kills."""
    *classes, name = path.split(".")
    owner: Any = functools.reduce(getattr, classes, module)
    setattr(owner, name, deadly(getattr(owner, name), when, number, marker))


class ShiftedDatetime(datetime):
    """A class of times of day whose clock can be set."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        with open(CLOCK) as file:
            return datetime.now(tz) + timedelta(seconds=float(file.read() or "0"))


def change(module: ModuleType) -> None:
    """Make the changes that the environment asks for in a module that was just imported."""
    target, _, rest = KILL.partition(" ")
    name, _, path = target.partition(":")
    if module.__name__ == name:
        when, number, marker = rest.split(" ", 2)
        aim(module, path, when, int(number), marker)
    if CLOCK and module.__name__ == "tusd_py.wiring.clock":
        module.datetime = ShiftedDatetime  # type: ignore[attr-defined]


def watch_imports() -> None:
    """Call ``change`` after the import of each module, before its importer goes on."""
    execute = importlib.machinery.SourceFileLoader.exec_module

    def exec_module(self: importlib.machinery.SourceFileLoader, module: ModuleType) -> None:
        execute(self, module)
        change(module)

    importlib.machinery.SourceFileLoader.exec_module = exec_module  # type: ignore[method-assign, assignment]


def hang_for(host: str) -> None:
    """Let the lookup of ``host`` never end."""
    look_up = socket.getaddrinfo

    def getaddrinfo(name: Any, *args: Any, **kwargs: Any) -> Any:
        if name in (host, host.encode()):
            time.sleep(_HANG_SECONDS)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return look_up(name, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo  # type: ignore[assignment]


if KILL or CLOCK:
    watch_imports()
if HANGING_HOST:
    hang_for(HANGING_HOST)
