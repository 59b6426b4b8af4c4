"""Finds programs in ``hooks.executables_dir`` that never run or cannot be run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tusd_py.model.hooks import Hook
from tusd_py.settings import Settings


def program_problems(settings: Settings) -> list[str]:
    """A sentence for the operator for each program that is never run, or that fails. None without a directory.

    Files that are not executable and whose names resemble no hook are data of the programs: nothing is said of them.
    """
    hooks = settings.hooks
    if not hooks.executables_dir:
        return []
    try:
        paths = sorted(Path(hooks.executables_dir).iterdir())
    except OSError:
        return []  # said elsewhere: the server does not start without the directory
    return [sentence for path in paths for sentence in _problems(path, hooks.enabled_events)]


def _problems(path: Path, enabled: tuple[str, ...]) -> Iterator[str]:
    is_program = path.is_file() and os.access(path, os.X_OK)
    if path.name not in list(Hook):
        meant = _resembled(path.name)
        if meant is not None and not path.is_dir():
            yield f"{path} is never run: no hook has this name; rename it to {meant}"
        elif is_program and not path.name.startswith("."):
            yield f"{path} is never run: no hook has this name; the hooks are {', '.join(Hook)}"
        return
    if path.name not in enabled:
        yield f"{path} is never run: add {path.name} to hooks.enabled_events, or remove the program"
    elif not path.exists():
        yield f"{path} is a link to a file that does not exist: {path.name} is accepted without it"
    elif not is_program:
        yield f"{path} is not an executable file: every {path.name} fails; chmod +x it, or remove it"


def _resembled(name: str) -> Hook | None:
    """The hook that a file is meant for, such as ``pre_create`` or ``pre-create.sh``."""
    spelled = name.lower().replace("_", "-").partition(".")[0]
    return next((hook for hook in Hook if hook.replace("-", "") == spelled.replace("-", "")), None)
