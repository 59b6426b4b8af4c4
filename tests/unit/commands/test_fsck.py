"""``tusd-py fsck``."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.support.command import run
from tests.unit.commands.test_uploads import an_upload, insert

_ORPHAN = "0123456789abcdef0123456789abcdef"


def test_data_without_problems() -> None:
    """A new data directory has no problems."""
    run("migrate", "--data-dir", "d")
    result = run("fsck", "--data-dir", "d")
    assert (0, "records and bytes agree\n") == (result.exit_code, result.stdout)


def test_problems_exit_with_2_until_they_are_repaired() -> None:
    """An orphan is reported with exit code 2 in text and JSON, removed with ``--repair``, and then gone."""
    run("migrate", "--data-dir", "d")
    run("sweep", "--data-dir", "d")  # makes the directory of the bytes
    path = Path("d", "uploads", _ORPHAN)
    path.write_bytes(b"x")
    os.utime(path, (0, 0))
    result = run("fsck", "--data-dir", "d")
    assert 2 == result.exit_code
    assert f"orphaned    {_ORPHAN}: --repair removes it\nproblems: 1, not repaired: 1\n" == result.stdout
    (line,) = run("fsck", "--json", "--data-dir", "d").stdout.splitlines()
    assert ("orphaned", False) == (json.loads(line)["problem"], json.loads(line)["is_repaired"])
    assert path.exists()
    assert 0 == run("fsck", "--repair", "--data-dir", "d").exit_code
    assert not path.exists()
    assert 0 == run("fsck", "--data-dir", "d").exit_code


def test_harmless_bytes_are_no_problem(tmp_path: Path) -> None:
    """More bytes than an unfinished upload has recorded: exit code 0, and counted apart from problems."""
    insert(tmp_path / "d", an_upload("a"))
    run("sweep", "--data-dir", "d")  # makes the directory of the bytes
    Path("d", "uploads", "a").write_bytes(b"x")
    result = run("fsck", "--data-dir", "d")
    assert 0 == result.exit_code, result.output
    assert (
        "long        a  1 of 0 bytes: harmless: its client overwrites them\nno problems, harmless: 1\n" == result.stdout
    )


def test_directory_without_a_database() -> None:
    """A mistyped directory is not created."""
    result = run("fsck", "--data-dir", "nowhere")
    assert 2 == result.exit_code
    assert not Path("nowhere").exists()
