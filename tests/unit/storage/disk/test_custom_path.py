"""Paths that a hook chooses: below the store's directory, one upload's at a time, and nobody else's bytes touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tusd_py.contracts.store import BytesMissing, PathTaken
from tusd_py.model.ids import is_storage_path
from tusd_py.storage.disk.custom_path import ChosenPath
from tusd_py.storage.disk.directory import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "uploads", 0o640)


def write(place: ChosenPath, upload_id: str, stored: bytes, offset: int = 0) -> None:
    descriptor, _ = place.open_for_writing(upload_id, offset)
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
def test_what_is_no_path(folder: Folder, path: str) -> None:
    """Nothing that leads out, hides, looks like another upload's id or surprises a file system."""
    assert not is_storage_path(path)
    with pytest.raises(ValueError, match="path"):
        ChosenPath(folder, path)


def test_a_path_belongs_to_one_upload(folder: Folder) -> None:
    """Who comes second is refused, and the bytes of the first are as they were; asking again is no error."""
    first = ChosenPath(folder, "p/x.pdf")
    first.reserve("one")
    write(first, "one", b"one's")
    with pytest.raises(PathTaken):
        ChosenPath(folder, "p/x.pdf").reserve("two")
    ChosenPath(folder, "p/x.pdf").erase("two")
    assert (folder.path / "p" / "x.pdf").read_bytes() == b"one's"
    assert (first.stored_size("one"), first.open_for_writing("one", 0)[1]) == (5, 5)


def test_what_an_earlier_try_left_is_taken_up(folder: Folder) -> None:
    """The same upload may have its path once more, with or without its file; what else lies there is not its own."""
    place = ChosenPath(folder, "p/x.pdf")
    place.reserve("one")
    place.reserve("one")
    (folder.path / "p" / "x.pdf").unlink()
    place.reserve("one")
    (folder.path / "p" / "x.pdf").unlink()
    (folder.path / "p" / "x.pdf").symlink_to("/nowhere")
    (folder.path / "q").mkdir()
    (folder.path / "q" / "x.pdf").write_bytes(b"theirs")
    with pytest.raises(PathTaken) as taken:
        ChosenPath(folder, "q/x.pdf").reserve("one")
    assert taken.value.owner_id is None
    with pytest.raises(PathTaken) as taken:
        place.reserve("two")
    assert taken.value.owner_id == "one"


def test_a_path_that_was_erased_is_free(folder: Folder) -> None:
    """And erasing the first upload once more, after a crash, does nothing to the second one's bytes."""
    place = ChosenPath(folder, "p/x.pdf")
    place.reserve("one")
    place.erase("one")
    assert not (folder.path / "p" / "x.pdf").exists()
    place.reserve("two")
    write(place, "two", b"two's")
    place.erase("one")
    assert (folder.path / "p" / "x.pdf").read_bytes() == b"two's"


def test_a_path_whose_file_was_moved_away_stays_claimed(folder: Folder) -> None:
    """Until its upload is erased: its erasing must not find another upload's bytes there."""
    place = ChosenPath(folder, "p/x.pdf")
    place.reserve("one")
    (folder.path / "p" / "x.pdf").unlink()
    with pytest.raises(PathTaken):
        place.reserve("two")
    with pytest.raises(BytesMissing):
        place.open_for_reading("one")
    (folder.path / "p").rmdir()
    assert place.stored_size("one") == 0
    place.erase("one")
    place.reserve("two")


@pytest.mark.parametrize("planted", ["file", "directory", "link", "dangling"])
@pytest.mark.parametrize("where", ["p/x.pdf", "p"])
def test_what_is_in_the_way_is_left_alone(folder: Folder, tmp_path: Path, planted: str, where: str) -> None:
    """A file of somebody else, or a link on the way, is neither written to nor followed; the path is not claimed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    if where == "p" and planted == "directory":
        (folder.path / "p" / "x.pdf").mkdir(parents=True)
    else:
        target = folder.path / where
        target.parent.mkdir(exist_ok=True)
        if planted == "file":
            target.write_bytes(b"theirs")
        elif planted == "directory":
            target.mkdir()
        else:
            target.symlink_to(outside if planted == "link" else tmp_path / "nowhere")
    place = ChosenPath(folder, "p/x.pdf")
    with pytest.raises(PathTaken):
        place.reserve("one")
    place.erase("one")
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "nowhere").exists()
    assert list((folder.path / ".claims").iterdir()) == []
    if planted == "file":
        assert (folder.path / where).read_bytes() == b"theirs"


def test_a_join_that_failed_leaves_no_bytes_and_keeps_the_claim(folder: Folder) -> None:
    """It will be tried again, and nobody shall have taken its path by then."""
    place = ChosenPath(folder, "p/x.pdf")
    place.reserve("final")
    os.close(place.open_for_joining("final"))
    place.adopt("final")
    write(place, "final", b"half")
    os.close(place.open_for_joining("final"))
    place.clear("final")
    assert (place.stored_size("final"), sorted(os.listdir(folder.path))) == (0, [".claims", "p"])
    with pytest.raises(PathTaken):
        place.reserve("two")


def test_modes(folder: Folder) -> None:
    """Others can look neither into the directories nor into the file."""
    ChosenPath(folder, "p/q/x.pdf").reserve("one")
    for path in (folder.path / "p", folder.path / "p" / "q", folder.path / ".claims", folder.path / "p/q/x.pdf"):
        assert path.stat().st_mode & 0o007 == 0
