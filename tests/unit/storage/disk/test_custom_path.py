"""Paths that a hook chooses: below the store's directory, one upload's at a time, and nobody else's bytes touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
def test_what_is_a_path(path: str) -> None:
    """Names of every script, of some length, with a slash or a dot to tell them from ids."""
    assert is_storage_path(path)


@pytest.mark.parametrize(
    "path",
    [
        *("", "/etc/passwd", "../x", "a/../x", "a/./x", "a//x", "a/", ".hidden/x", "a/.x", "a\0b", "a/b\n", "\ud800/x"),
        *("abc", "a" * 32, "a/" + "b" * 256, "ä/" + "ä" * 128, "/".join(["a" * 100] * 11)),
    ],
)
def test_what_is_no_path(directory: UploadDirectory, path: str) -> None:
    """Nothing that leads out, hides, looks like another upload's id or surprises a file system."""
    assert not is_storage_path(path)
    with pytest.raises(ValueError, match="path"):
        CustomPath(directory, path)


def test_a_path_belongs_to_one_upload(directory: UploadDirectory) -> None:
    """Who comes second is refused, and the bytes of the first are as they were; asking again is no error."""
    first = CustomPath(directory, "p/x.pdf")
    first.reserve("one")
    write(first, "one", b"one's")
    with pytest.raises(PathTaken):
        CustomPath(directory, "p/x.pdf").reserve("two")
    CustomPath(directory, "p/x.pdf").delete("two")
    assert (directory.path / "p" / "x.pdf").read_bytes() == b"one's"
    assert (first.size("one"), first.open_for_writing("one", 0)[1]) == (5, 5)


def test_what_an_earlier_try_left_is_taken_up(directory: UploadDirectory) -> None:
    """The same upload may have its path once more, with or without its file; what else lies there is not its own."""
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


def test_a_path_that_was_erased_is_free(directory: UploadDirectory) -> None:
    """And erasing the first upload once more, after a crash, does nothing to the second one's bytes."""
    location = CustomPath(directory, "p/x.pdf")
    location.reserve("one")
    location.delete("one")
    assert not (directory.path / "p" / "x.pdf").exists()
    location.reserve("two")
    write(location, "two", b"two's")
    location.delete("one")
    assert (directory.path / "p" / "x.pdf").read_bytes() == b"two's"


def test_a_path_whose_file_was_moved_away_stays_claimed(directory: UploadDirectory) -> None:
    """Until its upload is erased: its erasing must not find another upload's bytes there."""
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
def test_what_is_in_the_way_is_left_alone(directory: UploadDirectory, tmp_path: Path, planted: str, where: str) -> None:
    """A file of somebody else, or a link on the way, is neither written to nor followed; the path is not claimed."""
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


def test_a_join_that_failed_leaves_no_bytes_and_keeps_the_claim(directory: UploadDirectory) -> None:
    """It will be tried again, and nobody shall have taken its path by then."""
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


def test_modes(directory: UploadDirectory) -> None:
    """Others can look neither into the directories nor into the file."""
    CustomPath(directory, "p/q/x.pdf").reserve("one")
    for path in (
        directory.path / "p",
        directory.path / "p" / "q",
        directory.path / ".claims",
        directory.path / "p/q/x.pdf",
    ):
        assert path.stat().st_mode & 0o007 == 0
