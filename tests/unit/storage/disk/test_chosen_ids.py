"""Uploads whose id a hook chose, beside files that an operator put into the directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tusd_py.contracts.store import PathTaken
from tusd_py.storage.disk.chosen_ids import mark, read_marks, unmark
from tusd_py.storage.disk.directory import UploadDirectory


@pytest.fixture
def directory(tmp_path: Path) -> UploadDirectory:
    return UploadDirectory(tmp_path / "uploads", 0o640)


def test_mark_refuses_the_name_of_another_file(directory: UploadDirectory) -> None:
    """A file without a mark is not the server's, however often the id is chosen; nothing is left of the attempts."""
    for name in ("README", "empty"):
        (directory.path / name).write_bytes(b"" if name == "empty" else b"mine")
        for _ in range(2):
            with pytest.raises(PathTaken):
                mark(directory, name)
    assert [] == list(read_marks(directory))
    assert b"mine" == (directory.path / "README").read_bytes()


def test_mark_again_after_a_crash(directory: UploadDirectory) -> None:
    """A marked file was left by an earlier creation of the same id, which may be made again."""
    mark(directory, "cat-1")
    (directory.path / "cat-1").write_bytes(b"half")
    mark(directory, "cat-1")
    assert ["cat-1"] == [name for name, _ in read_marks(directory)]


def test_mark_refuses_a_directory(directory: UploadDirectory) -> None:
    """The directory of a custom path remains; it is not overwritten, whether marked or not."""
    (directory.path / "team").mkdir()
    with pytest.raises(PathTaken):
        mark(directory, "team")


def test_unmark_removes_only_the_mark(directory: UploadDirectory) -> None:
    """Only the mark is removed; without one nothing happens."""
    unmark(directory, "cat-1")
    mark(directory, "cat-1")
    (directory.path / "cat-1").write_bytes(b"x")
    unmark(directory, "cat-1")
    assert [] == list(read_marks(directory))
    assert [".chosen", "cat-1"] == sorted(os.listdir(directory.path))
