"""The directory of shared metrics: made, locked, cleaned, and done without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tusd_py.web import shared_metrics
from tusd_py.web.shared_metrics import SHARED_DIRECTORY, shared_directory

COUNT = """
import os, sys
from tusd_py.web import shared_metrics
from tusd_py.web.metrics import ServerMetrics
shared_metrics.join(int(sys.argv[1]), os.environ)
metrics = ServerMetrics()
metrics.created.inc()
if len(sys.argv) > 2:
    import shutil
    shutil.rmtree(sys.argv[2])
print([line for line in metrics.exposition().decode().splitlines() if line.startswith("tusd_uploads_created ")])
"""


def count(directory: Path, slot: int, *more: str) -> str:
    environment = {**os.environ, SHARED_DIRECTORY: str(directory)}
    command = [sys.executable, "-c", COUNT, str(slot), *more]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout


def test_one_file_of_a_kind_for_each_slot(tmp_path: Path) -> None:
    """A process that replaces another goes on counting in its files: their number does not grow with every crash."""
    assert "tusd_uploads_created 1.0" in count(tmp_path, 0)
    assert "tusd_uploads_created 2.0" in count(tmp_path, 1)
    assert "tusd_uploads_created 3.0" in count(tmp_path, 0)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2 * len(shared_metrics._KINDS)
    for file in files:
        assert file.stat().st_blocks * 512 >= file.stat().st_size >= 128 * 1024, "a full disk must kill no process"


def test_damaged_file_is_replaced(tmp_path: Path) -> None:
    """A killed process may leave one that cannot be read; its successor starts from 0."""
    count(tmp_path, 0)
    (tmp_path / "counter_0.db").write_bytes(b"\xff" * 4096)
    assert "tusd_uploads_created 1.0" in count(tmp_path, 0)


def test_removed_directory_is_made_again(tmp_path: Path) -> None:
    """A new process starts all the same."""
    assert "tusd_uploads_created 1.0" in count(tmp_path / "removed", 0)


def test_own_metrics_if_the_directory_is_removed(tmp_path: Path) -> None:
    """Until this process is replaced, it exposes its own numbers."""
    assert "tusd_uploads_created 1.0" in count(tmp_path / "d", 0, str(tmp_path / "d"))


def test_without_a_directory_each_process_counts_for_itself(tmp_path: Path) -> None:
    """A file in its place: the process starts and exposes its own numbers."""
    (tmp_path / "file").write_bytes(b"")
    assert "tusd_uploads_created 1.0" in count(tmp_path / "file" / "d", 0)
    environ: dict[str, str] = {}
    with shared_directory(tmp_path / "file" / "d", environ):
        assert not environ


def test_leftovers_are_removed_and_living_ones_stay(tmp_path: Path) -> None:
    """What a killed server left is unlocked; the directory of another running server is not."""
    (tmp_path / "server-killed").mkdir()
    (tmp_path / "server-killed" / "counter_0.db").write_bytes(b"x")
    first: dict[str, str] = {}
    second: dict[str, str] = {}
    with shared_directory(tmp_path, first), shared_directory(tmp_path, second):
        assert {Path(first[SHARED_DIRECTORY]), Path(second[SHARED_DIRECTORY])} == set(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_directory_made_again_is_no_leftover(tmp_path: Path) -> None:
    """A process that has joined keeps the directory that it made again: a server that starts does not remove it."""
    code = "import os; from tusd_py.web import shared_metrics as m; m.join(0, os.environ); print(flush=True); input()"
    environment = {**os.environ, SHARED_DIRECTORY: str(tmp_path / "server-a")}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdin=pipe, stdout=pipe) as joined:
        assert joined.stdout is not None
        joined.stdout.readline()
        with shared_directory(tmp_path, {}):
            assert (tmp_path / "server-a" / "counter_0.db").exists()
        joined.communicate(b"\n")
    with shared_directory(tmp_path, {}):
        assert not (tmp_path / "server-a").exists()


def test_leaving_never_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent process must not end because a file cannot be removed."""
    shared_metrics.leave(0, {SHARED_DIRECTORY: str(tmp_path / "absent")})

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(shared_metrics, "mark_process_dead", refuse)
    shared_metrics.leave(0, {SHARED_DIRECTORY: str(tmp_path)})
