"""The copy of all uploads for a backup: which files it has, and that a loss of power does not undo it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.support.file_steps import record_steps
from tusd_py.storage.disk.mirror import mirror


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "uploads"
    (source / "p").mkdir(parents=True)
    for name in ("a", "p/b", ".a.joining", ".probe-1"):
        (source / name).write_bytes(name.encode())
    (source / "link").symlink_to("/etc/passwd")
    os.chmod(source / "a", 0o640)
    os.utime(source / "a", (5, 5))
    return source


def files_of(target: Path) -> set[str]:
    return {str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir()}


def test_copies_are_durable(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is synced, then the directory that names it. Neither temporary files nor links are copied."""
    steps, target = record_steps(monkeypatch), tmp_path / "backup"
    assert mirror(source, target, may_link=lambda _: False)[0] == 2
    assert steps == ["fsync a", "fsync backup", "fsync b", "fsync p"]
    assert files_of(target) == {"a", "p/b"}
    status = (target / "a").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o640, 5)
    assert (target / "p/b").read_bytes() == b"p/b"


def test_files_that_may_change_are_not_linked(source: Path, tmp_path: Path) -> None:
    """A later change of an unfinished upload does not reach the backup; one that may be linked shares its bytes."""
    target = tmp_path / "backup"
    assert mirror(source, target, may_link=lambda path: path.name == "a")[1] >= 1
    assert files_of(target) == {"a", "p/b"}
    (source / "p/b").write_bytes(b"changed later")
    assert (target / "p/b").read_bytes() == b"p/b"
