"""Starts the worker's package by its location, so that no other package of the same name can take its place.

As a module it gives the command of a worker process. As a program, ``python -P worker_program.py [ARGUMENTS]``, it is
that process: it imports nothing of ``tusd_py`` before it has fixed the locations of both packages.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path

_TUSD_PY = Path(__file__).parents[1]


def worker_package(tusd_py: Path = _TUSD_PY) -> Path:
    """Return the directory of the worker's package that belongs to the ``tusd_py`` package in directory ``tusd_py``.

    A wheel installs it as ``tusd_py_workers`` beside ``tusd_py``; a checkout has it as ``workers`` there.
    ``sys.path`` is not searched: a user's own package ``workers`` may come first on it.
    """
    installed = tusd_py.with_name("tusd_py_workers")
    return installed if installed.is_dir() else tusd_py.with_name("workers")


def worker_command() -> list[str]:
    """Return the command that starts a worker process; the worker's arguments are appended to it."""
    # -P: the working directory and this file's directory are not searched for imports.
    return [sys.executable, "-P", __file__]


def _import_from(directory: Path) -> None:
    """Import the package in ``directory`` under the directory's name. Raises what its ``__init__`` raises."""
    name = directory.name
    spec = importlib.util.spec_from_file_location(
        name, directory / "__init__.py", submodule_search_locations=[str(directory)]
    )
    assert spec is not None and spec.loader is not None, "a file named .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def _main() -> None:
    """Run the worker's package as ``python -m`` would, with this program's arguments."""
    package = worker_package()
    for directory in (_TUSD_PY, package):
        _import_from(directory)
    runpy.run_module(package.name, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
