"""Paths that a hook chooses: within the directory, reserved for one upload, and no other file is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.file_steps import record_steps
from tusd_py.contracts.store import BytesMissing, PathTaken
from tusd_py.model.ids import is_storage_path
from tusd_py.storage.disk.custom_path import CustomPath
from tusd_py.storage.disk.directory import UploadDirectory


@pytest.fixture
def directory(tmp_path: Path) -> UploadDirectory:
    return UploadDirectory(tmp_path / "uploads", 0o640)


def write(location: CustomPath, upload_id: str, stored: bytes, offset: int = 0) -> None:
    descriptor, _ = location.open_for_writing(upload_id, offset)
    os.pwrite(descriptor, stored, offset)
    os.close(descriptor)


@pytest.mark.parametrize("path", ["p/abc/x.pdf", "x.pdf", "a b/ä ö", "a/" * 20 + "b", "2026/11/file", "x..y", "~"])
def test_valid_paths(path: str) -> None:
    """Names of every script, of limited length, with a slash or a dot that distinguishes them from ids."""
    assert is_storage_path(path)


@pytest.mark.parametrize(
    "path",
    [
        *("", "/etc/passwd", "../x", "a/../x", "a/./x", "a//x", "a/", ".hidden/x", "a/.x", "a\0b", "a/b\n", "\ud800/x"),
        *("abc", "a" * 32, "a/" + "b" * 256, "ä/" + "ä" * 128, "/".join(["a" * 100] * 11)),
    ],
)
def test_invalid_paths(directory: UploadDirectory, path: str) -> None:
    """No path leads out of the directory, hides, looks like an id or confuses a file system."""
    assert not is_storage_path(path)
    with pytest.raises(ValueError, match="path"):
        CustomPath(directory, path)


def test_path_of_another_upload_is_taken(directory: UploadDirectory) -> None:
    """The second upload is refused, and neither that nor deleting it touches the first one's bytes."""
    first = CustomPath(directory, "p/x.pdf")
    first.reserve("one")
    write(first, "one", b"one's")
    with pytest.raises(PathTaken):
        CustomPath(directory, "p/x.pdf").reserve("two")
    CustomPath(directory, "p/x.pdf").delete("two")
    assert (directory.path / "p" / "x.pdf").read_bytes() == b"one's"
    assert (first.size("one"), first.open_for_writing("one", 0)[1]) == (5, 5)


def test_reserve_continues_an_earlier_attempt(directory: UploadDirectory) -> None:
    """The same upload may reserve its path again, with or without its file, but never takes over another file."""
    location = CustomPath(directory, "p/x.pdf")
    location.reserve("one")
    location.reserve("one")
    (directory.path / "p" / "x.pdf").unlink()
    location.reserve("one")
    (directory.path / "p" / "x.pdf").unlink()
    (directory.path / "p" / "x.pdf").symlink_to("/nowhere")
    (directory.path / "q").mkdir()
    (directory.path / "q" / "x.pdf").write_bytes(b"theirs")
    with pytest.raises(PathTaken) as taken:
        CustomPath(directory, "q/x.pdf").reserve("one")
    assert taken.value.owner_id is None
    with pytest.raises(PathTaken) as taken:
        location.reserve("two")
    assert taken.value.owner_id == "one"


def test_deleted_path_is_free(directory: UploadDirectory) -> None:
    """Deleting the first upload again, after a crash, does nothing to the second one's bytes."""
    location = CustomPath(directory, "p/x.pdf")
    location.reserve("one")
    location.delete("one")
    assert not (directory.path / "p" / "x.pdf").exists()
    location.reserve("two")
    write(location, "two", b"two's")
    location.delete("one")
    assert (directory.path / "p" / "x.pdf").read_bytes() == b"two's"


def test_path_of_a_moved_file_stays_reserved(directory: UploadDirectory) -> None:
    """It is reserved until its upload is deleted, so that this cannot remove another upload's bytes."""
    location = CustomPath(directory, "p/x.pdf")
    location.reserve("one")
    (directory.path / "p" / "x.pdf").unlink()
    with pytest.raises(PathTaken):
        location.reserve("two")
    with pytest.raises(BytesMissing):
        location.open_for_reading("one")
    (directory.path / "p").rmdir()
    assert location.size("one") == 0
    location.delete("one")
    location.reserve("two")


@pytest.mark.parametrize("planted", ["file", "directory", "link", "dangling"])
@pytest.mark.parametrize("where", ["p/x.pdf", "p"])
def test_other_files_along_the_path_are_untouched(
    directory: UploadDirectory, tmp_path: Path, planted: str, where: str
) -> None:
    """Another file or a link along the path is neither written nor followed, and the path is not reserved."""
    outside = tmp_path / "outside"
    outside.mkdir()
    if where == "p" and planted == "directory":
        (directory.path / "p" / "x.pdf").mkdir(parents=True)
    else:
        target = directory.path / where
        target.parent.mkdir(exist_ok=True)
        if planted == "file":
            target.write_bytes(b"theirs")
        elif planted == "directory":
            target.mkdir()
        else:
            target.symlink_to(outside if planted == "link" else tmp_path / "nowhere")
    location = CustomPath(directory, "p/x.pdf")
    with pytest.raises(PathTaken):
        location.reserve("one")
    location.delete("one")
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "nowhere").exists()
    assert list((directory.path / ".claims").iterdir()) == []
    if planted == "file":
        assert (directory.path / where).read_bytes() == b"theirs"


def test_discarded_concatenation_keeps_the_reservation(directory: UploadDirectory) -> None:
    """It leaves no bytes, and no other upload can take the path before the next attempt."""
    location = CustomPath(directory, "p/x.pdf")
    location.reserve("final")
    os.close(location.open_concatenation("final"))
    location.commit_concatenation("final")
    write(location, "final", b"half")
    os.close(location.open_concatenation("final"))
    location.discard_concatenation("final")
    assert (location.size("final"), sorted(os.listdir(directory.path))) == (0, [".claims", "p"])
    with pytest.raises(PathTaken):
        location.reserve("two")


def test_other_users_can_look_into_neither_directories_nor_file(directory: UploadDirectory) -> None:
    """Other users can look into neither the directories nor the file."""
    CustomPath(directory, "p/q/x.pdf").reserve("one")
    for path in (
        directory.path / "p",
        directory.path / "p" / "q",
        directory.path / ".claims",
        directory.path / "p/q/x.pdf",
    ):
        assert path.stat().st_mode & 0o007 == 0


def test_every_step_is_durable_before_the_next_one(directory: UploadDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reservation before the file, and the end of the file before that of the reservation."""
    location, steps = CustomPath(directory, "p/x.pdf"), record_steps(monkeypatch)
    location.reserve("one")
    made = ["fsync uploads", "fsync .claims", "fsync uploads", "fsync p"]
    assert steps == made
    location.delete("one", is_final=False)
    reservation = steps[-2].removeprefix("unlink ")
    assert steps[len(made) :] == ["unlink x.pdf", "fsync p", f"unlink {reservation}", "fsync .claims"]
