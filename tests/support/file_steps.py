"""Records in which order files are synced and renamed: only that decides what a loss of power leaves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


def record_steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The list that gets ``fsync NAME``, ``unlink NAME``, and of ``rename`` and ``link`` the new name, from now on."""
    steps: list[str] = []

    def recording(function: Any, describe: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            steps.append(f"{function.__name__} {describe(*args)}")
            return function(*args, **kwargs)

        return call

    def name_of(descriptor: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name

    monkeypatch.setattr(os, "fsync", recording(os.fsync, name_of))
    for function in (os.rename, os.link):
        monkeypatch.setattr(os, function.__name__, recording(function, lambda _, new: Path(new).name))
    monkeypatch.setattr(os, "unlink", recording(os.unlink, lambda path: Path(path).name))
    return steps
