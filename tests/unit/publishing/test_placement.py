"""Placing a copy: atomic with concurrent workers and after interrupted attempts."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from tusd_py.publishing.placement import Placement


def names() -> list[str]:
    return ["a.txt", *(f"a ({number}).txt" for number in range(2, 9))]


def test_two_workers_at_one_upload_publish_one_copy(tmp_path: Path) -> None:
    """The second neither writes into the copy of the first, nor replaces it, nor uses another name."""
    first, second = Placement(tmp_path, "id*"), Placement(tmp_path, "id*")
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


def test_cleanup_removes_interrupted_copies(tmp_path: Path) -> None:
    """A copy cut by a crash is never published and is removed, also if the id has pattern characters."""
    dead, alive, other = Placement(tmp_path, "id*"), Placement(tmp_path, "id*"), Placement(tmp_path, "idea")
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
    placement = Placement(tmp_path, "id")
    placement.open_copy()
    placement.write_copy(b"mine")
    placement.finish_copy()
    placement.close_copy()
    assert "a (2).txt" == placement.publish(f"a ({n}).txt" if n > 1 else "a.txt" for n in count(1))
    assert (b"other", b"mine") == ((tmp_path / "a.txt").read_bytes(), (tmp_path / "a (2).txt").read_bytes())
