"""Placing a copy: whole or not at all, whoever else is at it, and whatever is cut short."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from tusd_py.publishing.placement import Placement


def names() -> list[str]:
    return ["a.txt", *(f"a ({number}).txt" for number in range(2, 9))]


def test_two_workers_at_one_upload_publish_one_copy(tmp_path: Path) -> None:
    """The second never writes into the first one's copy, takes its place, or finds another name."""
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


def test_what_a_dead_worker_left_goes_with_the_job(tmp_path: Path) -> None:
    """A copy cut by a crash is called whole by nobody, and removed in the end, whatever its id has in it."""
    dead, alive, other = Placement(tmp_path, "id*"), Placement(tmp_path, "id*"), Placement(tmp_path, "idea")
    for placement in (dead, other):
        placement.open_copy()
        placement.write_copy(b"ha")
    assert not alive.prepare()
    alive.cleanup()
    assert 1 == len(os.listdir(tmp_path)), "another upload's is left alone"
    other.close_copy()
    assert [] == os.listdir(tmp_path)
    dead.close_copy()


def test_a_name_that_is_taken_is_another_files(tmp_path: Path) -> None:
    """The next name is taken instead, and what was there stays."""
    (tmp_path / "a.txt").write_bytes(b"other")
    placement = Placement(tmp_path, "id")
    placement.open_copy()
    placement.write_copy(b"mine")
    placement.finish_copy()
    placement.close_copy()
    assert "a (2).txt" == placement.publish(f"a ({n}).txt" if n > 1 else "a.txt" for n in count(1))
    assert (b"other", b"mine") == ((tmp_path / "a.txt").read_bytes(), (tmp_path / "a (2).txt").read_bytes())
