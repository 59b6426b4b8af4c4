"""What a command loads before it does anything: its help and the version must not wait for the server's libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tusd_py.cli import COMMANDS

HEAVY = (
    "sqlalchemy",
    "starlette",
    "uvicorn",
    "prometheus_client",
    "dramatiq",
    "httpcore2",
    "tusd_py.settings.sections",
)


def loaded_by(*arguments: str) -> set[str]:
    """The modules that the program with these arguments has loaded when it exits."""
    code = "\n".join(
        [
            "import sys",
            "from tusd_py.__main__ import main",
            f"sys.argv = ['tusd-py', *{list(arguments)!r}]",
            "try: main()",
            "except SystemExit: pass",
            "print('\\nLOADED', *sys.modules)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize("arguments", [["-h"], *([name, "-h"] for name in COMMANDS)])
def test_help_loads_no_library_of_the_server(arguments: list[str]) -> None:
    """The help of every command is printed without the database, the web framework and the settings."""
    assert set() == loaded_by(*arguments).intersection(HEAVY)


def test_version_loads_no_library_at_all() -> None:
    """``--version`` does not even load the library of the command line."""
    assert set() == loaded_by("--version").intersection({*HEAVY, "typer", "pydantic"})
