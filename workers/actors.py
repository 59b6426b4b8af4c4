"""Finds the actors: a module of this package with a coroutine function of its own name is one."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

from .tasks import Actor


def find_actors() -> dict[str, Actor]:
    """The actors by name, their modules imported."""
    found: dict[str, Actor] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name != "__main__":
            act = getattr(import_module(f"{__package__}.{module.name}"), module.name, None)
            if inspect.iscoroutinefunction(act):
                found[module.name] = act
    return found
