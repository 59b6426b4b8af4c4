"""The owner of what commands write to the data directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.command import run

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    path = tmp_path / "d"
    path.mkdir(mode=0o750)
    os.chown(path, NOBODY, NOBODY)
    return path


def test_commands_as_root_leave_files_to_the_owner_of_the_directory(data_dir: Path) -> None:
    """``sudo tusd-py migrate`` and ``sweep`` before the first start of the server, which runs as another user."""
    assert run("migrate", "--data-dir", "d").exit_code == 0
    assert run("sweep", "--data-dir", "d").exit_code == 0
    assert run("jobs", "list", "--data-dir", "d").exit_code == 0
    assert {"tusd.sqlite3", "uploads", "locks"} <= {path.name for path in data_dir.iterdir()}
    assert {path.stat().st_uid for path in data_dir.rglob("*")} == {NOBODY}
    assert "has another owner" not in run("check", "--data-dir", "d", "--port", "0").output


def test_files_of_root_that_exist_stay(data_dir: Path) -> None:
    """Only what a command creates changes its owner; check reports the others."""
    (data_dir / "uploads").mkdir()
    assert run("migrate", "--data-dir", "d").exit_code == 0
    assert (data_dir / "uploads").stat().st_uid == 0
    result = run("check", "--data-dir", "d", "--port", "0")
    assert result.exit_code == 0
    assert "WARN    d/uploads has another owner than d" in result.output


def test_links_are_not_followed(data_dir: Path, tmp_path: Path) -> None:
    """The owner of the directory cannot use root to take over a file elsewhere."""
    (tmp_path / "victim").write_bytes(b"")
    (data_dir / "tusd.sqlite3").symlink_to(tmp_path / "victim")
    run("migrate", "--data-dir", "d")
    assert (tmp_path / "victim").stat().st_uid == 0
