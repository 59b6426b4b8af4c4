"""Runs ``tusd-py`` commands within the test's process."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.support.server import RunningServer
from tusd_py.cli import app


def isolate(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to an empty directory, and remove the variables that tusd-py reads."""
    monkeypatch.chdir(directory)
    for variable in [name for name in os.environ if name.startswith("TUSD_PY_")]:
        monkeypatch.delenv(variable)


def run(*arguments: str, stdin: str | None = None, **environ: str) -> Result:
    """Run a command; ``SERVER__PORT="1"`` sets the variable ``TUSD_PY_SERVER__PORT``."""
    variables = {f"TUSD_PY_{name}": value for name, value in environ.items()}
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    try:
        return CliRunner().invoke(app, list(arguments), input=stdin, env=variables)
    finally:
        # The command may have sent the log to its standard error, which is closed now.
        root.handlers = handlers
        root.setLevel(level)


def run_beside(server: RunningServer, *arguments: str, stdin: str | None = None) -> str:
    """The output of a command that uses the data directory of a running server, as an operator does."""
    # In a thread of its own: the command runs an event loop, and tests with a browser already run one.
    with ThreadPoolExecutor(1) as executor:
        result = executor.submit(run, *arguments, "--data-dir", str(server.data_dir), stdin=stdin).result()
    assert result.exit_code == 0, result.output
    return result.stdout
