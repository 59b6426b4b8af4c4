"""What a crash may have left on the disk, and what is certainly not ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tusd_py.storage.disk.chosen_ids import mark
from tusd_py.storage.disk.custom_path import CustomPath
from tusd_py.storage.disk.directory import UploadDirectory
from tusd_py.storage.disk.leftovers import old_ids, remove

OLD, BEFORE = 1_000_000, 2_000_000
ONE, TWO, THREE = ("1" * 32, "2" * 32, "3" * 32)


@pytest.fixture
def directory(tmp_path: Path) -> UploadDirectory:
    return UploadDirectory(tmp_path / "uploads", 0o640)


def put(directory: UploadDirectory, name: str, at: float = OLD) -> Path:
    path = directory.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (at, at), follow_symlinks=False)
    return path


def reserved(directory: UploadDirectory, path: str, upload_id: str, at: float = OLD) -> CustomPath:
    location = CustomPath(directory, path)
    location.reserve(upload_id)
    put(directory, path, at)
    for claim in (directory.path / ".claims").iterdir():
        os.utime(claim, (OLD, OLD), follow_symlinks=False)
    return location


def test_files_and_temporary_files_are_found(directory: UploadDirectory) -> None:
    """Only old ones, of names that the server gives: not an operator's, nor tusd's, nor a directory's."""
    put(directory, ONE)
    put(directory, f".{TWO}.joining")
    put(directory, THREE, BEFORE + 1)
    for name in ("README", "cat-1", "4" * 31, "5" * 33, "F" * 32, f"{'6' * 32}.info", "6" * 32, ".probe-1"):
        put(directory, name)
    (directory.path / ("7" * 32)).mkdir()
    os.utime(directory.path / ("7" * 32), (OLD, OLD))
    (directory.path / ("8" * 32)).symlink_to("/etc/passwd")
    assert [ONE, TWO] == sorted(old_ids(directory, BEFORE))


def test_reserved_paths_are_found(directory: UploadDirectory) -> None:
    """With any id, with and without a file; a file that changed lately belongs to someone."""
    reserved(directory, "2026/a.png", "cat-1")
    reserved(directory, "2026/b.png", "cat-2", BEFORE + 1)
    reserved(directory, "2026/c.png", "cat-3")
    (directory.path / "2026/c.png").unlink()
    assert ["cat-1", "cat-3"] == sorted(old_ids(directory, BEFORE))


def test_reservations_of_old_versions_are_left_alone(directory: UploadDirectory) -> None:
    """They do not say which path they reserve, but still reserve it."""
    location = reserved(directory, "2026/a.png", "cat-1")
    (claim,) = (directory.path / ".claims").iterdir()
    claim.unlink()
    claim.symlink_to("cat-1")
    os.utime(claim, (OLD, OLD), follow_symlinks=False)
    assert [] == list(old_ids(directory, BEFORE))
    location.reserve("cat-1")
    location.delete("cat-1")
    assert not (directory.path / "2026/a.png").exists() and not claim.is_symlink()


def test_remove_takes_everything_of_one_id_and_nothing_of_others(directory: UploadDirectory) -> None:
    """Everything of one id goes, also its reservation, and nothing of others."""
    put(directory, ONE)
    put(directory, f".{ONE}.joining")
    reserved(directory, "2026/a.png", ONE)
    reserved(directory, "2026/b.png", TWO)
    put(directory, TWO)
    for _ in range(2):
        remove(directory, ONE)
        left = {str(path.relative_to(directory.path)) for path in directory.path.rglob("*") if path.is_file()}
        assert {"2026/b.png", TWO} == left
        assert 1 == len(list((directory.path / ".claims").iterdir()))


def test_marked_ids_are_found(directory: UploadDirectory) -> None:
    """Of an id that a hook chose, with and without a file; not if the mark or the file changed lately."""
    for name, marked_at, file_at in (("a", OLD, OLD), ("b", OLD, None), ("c", OLD, BEFORE), ("d", BEFORE, OLD)):
        mark(directory, name)
        os.utime(directory.path / ".chosen" / name, (marked_at, marked_at))
        if file_at is not None:
            put(directory, name, file_at)
    put(directory, "README")
    assert ["a", "b"] == sorted(old_ids(directory, BEFORE))
    remove(directory, "a")
    remove(directory, "b")
    assert [] == sorted(old_ids(directory, BEFORE))
    assert (directory.path / "README").exists() and not (directory.path / "a").exists()
