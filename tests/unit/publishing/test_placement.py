"""Placing a copy: atomic with concurrent workers and after interrupted attempts."""

from __future__ import annotations

import errno
import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.file_steps import record_steps
from tests.support.publishing import without_links, without_renameat2
from tusd_py.publishing.names import candidates
from tusd_py.publishing.placement import Placement, try_out


def names() -> list[str]:
    return ["a.txt", *(f"a ({number}).txt" for number in range(2, 9))]


@pytest.mark.parametrize("links", [True, False])
def test_two_workers_at_one_upload_publish_one_copy(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second neither writes into the copy of the first, nor replaces it, nor uses another name."""
    first, second = Placement(tmp_path, "id*", "a.txt"), Placement(tmp_path, "id*", "a.txt")
    if not links:
        without_links(monkeypatch)
    assert not first.prepare() and not second.prepare()
    first.open_copy()
    first.write_copy(b"who")
    second.open_copy()
    second.write_copy(b"whole")
    first.write_copy(b"le")
    first.finish_copy()
    first.close_copy()
    assert "a.txt" == first.publish(iter(names()))
    second.finish_copy()
    second.close_copy()
    assert "a.txt" == second.publish(iter(names()))
    assert b"whole" == (tmp_path / "a.txt").read_bytes()
    second.cleanup()
    assert ["a.txt"] == os.listdir(tmp_path)


def test_copy_is_durable_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes are synced before the copy has a name, and the folders before the publication is reported."""
    placement = Placement(tmp_path / "incoming", "id", "folder/a.txt")
    assert not placement.prepare()
    placement.open_copy()
    placement.write_copy(b"whole")
    steps = record_steps(monkeypatch)
    placement.finish_copy()
    assert [step.partition(" ")[0] for step in steps] == ["fsync", "link"]
    placement.close_copy()
    del steps[:]
    assert placement.publish(iter(["folder/a.txt"])) == "folder/a.txt"
    assert steps == ["link a.txt", "fsync folder", "fsync incoming"]


def test_cleanup_removes_interrupted_copies(tmp_path: Path) -> None:
    """A copy cut by a crash is never published and is removed, also if the id has pattern characters."""
    dead, alive, other = (Placement(tmp_path, upload_id, "a.txt") for upload_id in ("id*", "id*", "idea"))
    for placement in (dead, other):
        placement.open_copy()
        placement.write_copy(b"ha")
    assert not alive.prepare()
    alive.cleanup()
    assert 1 == len(os.listdir(tmp_path)), "the copy of another upload stays"
    other.close_copy()
    assert [] == os.listdir(tmp_path)
    dead.close_copy()


def test_an_existing_file_is_never_replaced(tmp_path: Path) -> None:
    """The next name is used instead."""
    (tmp_path / "a.txt").write_bytes(b"other")
    placement = Placement(tmp_path, "id", "a.txt")
    placement.open_copy()
    placement.write_copy(b"mine")
    placement.finish_copy()
    placement.close_copy()
    assert "a (2).txt" == placement.publish(f"a ({n}).txt" if n > 1 else "a.txt" for n in count(1))
    assert (b"other", b"mine") == ((tmp_path / "a.txt").read_bytes(), (tmp_path / "a (2).txt").read_bytes())


def copied(placement: Placement, content: bytes = b"mine") -> Placement:
    """``placement`` with a complete copy, as a worker makes it."""
    assert not placement.prepare()
    placement.open_copy()
    placement.write_copy(content)
    placement.finish_copy()
    placement.close_copy()
    return placement


@pytest.mark.parametrize("can_rename", [True, False])
@pytest.mark.parametrize("error", [errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP])
def test_file_system_without_hard_links(
    tmp_path: Path, error: int, can_rename: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is renamed to a name that is free; a repetition after a crash finds it and publishes nothing more."""
    without_links(monkeypatch, error)
    if not can_rename:
        without_renameat2(monkeypatch)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_bytes(b"other")
    names = ["in/a.txt", "in/a (2).txt", "in/a (3).txt"]
    assert "in/a (2).txt" == copied(Placement(tmp_path, "id", names[0])).publish(iter(names))
    again = Placement(tmp_path, "id", names[0])
    assert again.prepare()
    assert "in/a (2).txt" == again.publish(iter(names))
    again.cleanup()
    assert ["a (2).txt", "a.txt"] == sorted(os.listdir(tmp_path / "in"))
    assert b"mine" == (tmp_path / "in/a (2).txt").read_bytes()


def test_crash_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that was noted but not reached is no published file."""
    without_links(monkeypatch)
    placement = copied(Placement(tmp_path, "id", "a.txt"))

    def crash(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tusd_py.publishing.placement.rename_exclusively", crash)
        placement.publish(iter(names()))
    (tmp_path / "a.txt").write_bytes(b"other")
    again = Placement(tmp_path, "id", "a.txt")
    assert again.prepare()
    assert "a (2).txt" == again.publish(iter(names()))
    assert b"other" == (tmp_path / "a.txt").read_bytes()


@pytest.mark.parametrize("links", [True, False])
def test_withdraw_removes_only_this_uploads_own_file(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only this upload's own file is removed."""
    if not links:
        without_links(monkeypatch)
    (tmp_path / "a.txt").write_bytes(b"other")
    placement = copied(Placement(tmp_path, "id", "a.txt"))
    path = placement.publish(iter(names()))
    placement.withdraw("a.txt")
    placement.withdraw(path)
    placement.cleanup()
    assert ["a.txt"] == os.listdir(tmp_path)


def test_folder_below_the_directory_is_a_symbolic_link(tmp_path: Path) -> None:
    """The hidden names are in the folder itself, which may be on another file system."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "published").mkdir()
    (tmp_path / "published/in").symlink_to(tmp_path / "elsewhere")
    placement = copied(Placement(tmp_path / "published", "id", "in/a.txt"))
    assert [".id.published"] == os.listdir(tmp_path / "elsewhere")
    assert "in/a.txt" == placement.publish(iter(["in/a.txt"]))
    placement.cleanup()
    assert ["a.txt"] == os.listdir(tmp_path / "elsewhere")


@pytest.mark.parametrize("links", [True, False])
def test_mode_of_published_files(tmp_path: Path, links: bool) -> None:
    """It is the same for links and copies, whatever the umask and the mode of the upload's file."""
    (tmp_path / "source").write_bytes(b"x")
    (tmp_path / "source").chmod(0o600)
    placement = Placement(tmp_path / "published", "id", "a.txt", file_mode=0o664)
    before = os.umask(0o077)
    try:
        if links:
            assert not placement.prepare()
            assert placement.link(tmp_path / "source")
        else:
            copied(placement)
        placement.publish(iter(["a.txt"]))
    finally:
        os.umask(before)
    assert 0o664 == (tmp_path / "published/a.txt").stat().st_mode & 0o7777


def test_directories_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network shares cannot: publishing does not wait for them for ever."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert "in/a.txt" == copied(Placement(tmp_path, "id", "in/a.txt")).publish(iter(["in/a.txt"]))


def test_try_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how files will be placed and leaves nothing."""
    assert "files are published by hard links" == try_out(tmp_path)
    without_links(monkeypatch)
    assert "copied and renamed" in try_out(tmp_path)
    without_renameat2(monkeypatch)
    assert "an empty file" in try_out(tmp_path)
    assert [] == os.listdir(tmp_path)


def test_full_folder_is_neither_counted_nor_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many files have the same name, publishing tries a few names and never lists their folder."""
    for number in range(2, 3000):
        (tmp_path / f"image-{number}.jpg").touch()
    (tmp_path / "image.jpg").touch()
    links = 0
    listed: list[Path] = []
    link, listdir, scandir = os.link, os.listdir, os.scandir

    def recording(function: Any) -> Any:
        def record(path: Any = ".") -> Any:
            listed.append(Path(path))
            return function(path)

        return record

    def counting(*args: Any, **kwargs: Any) -> None:
        nonlocal links
        links += 1
        link(*args, **kwargs)

    monkeypatch.setattr(os, "link", counting)
    monkeypatch.setattr(os, "listdir", recording(listdir))
    monkeypatch.setattr(os, "scandir", recording(scandir))
    placement = Placement(tmp_path, "id", "image.jpg")
    placement.prepare()
    placement.open_copy()
    placement.write_copy(b"mine")
    placement.finish_copy()
    placement.close_copy()
    name = placement.publish(candidates("image.jpg", "id"))
    placement.cleanup()
    assert (tmp_path / name).read_bytes() == b"mine"
    assert links <= 12
    assert tmp_path not in listed
