"""Where the fork server has its socket; tests/integration/test_serve.py tests what it starts."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from tusd_py.serving.fork_server import ForkServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no fork server")


def test_without_temporary_files_the_socket_is_in_the_given_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container in which only the data directory can be written; the trial leaves nothing there."""
    with tempfile.TemporaryDirectory() as directory:
        monkeypatch.setattr(tempfile, "tempdir", f"{directory}/none")
        assert "forkserver" == ForkServer("signal", Path(directory)).context.get_start_method()
        assert [] == list(Path(directory).iterdir())


def test_without_room_for_a_socket_processes_are_new_interpreters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path of a socket may be too long; the trial leaves nothing there."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    long = tmp_path / ("x" * 100)
    long.mkdir()
    assert "spawn" == ForkServer("signal", long).context.get_start_method()
    assert [] == list(long.iterdir())
