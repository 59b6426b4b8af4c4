"""Programs and packages that some tests need: where they are missing, a test is skipped, or fails in CI."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def skip_unless_ci(reason: str) -> NoReturn:
    """Skip the running test because something is missing; in CI, where everything is installed, fail it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def find_program(name: str, reason: str, *, path: str | None = None) -> str:
    """The path of the program ``name``, in ``path`` or PATH; without it ``skip_unless_ci`` with ``reason``."""
    found = shutil.which(name, path=path)
    if found is None:
        skip_unless_ci(reason)
    return found
