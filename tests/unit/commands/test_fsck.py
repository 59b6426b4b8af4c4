"""``tusd-py fsck``."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import run
from tests.unit.commands.test_uploads import NOW, an_upload, insert
from tusd_py.model.steps import VALIDATION
from tusd_py.model.upload import HistoryEntry, Status

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


def test_checksums_of_files() -> None:
    """A changed byte is a mismatch with exit code 2, which stays after ``--repair``; the summary counts all."""
    body = b"123456789"
    details = {"sha256": hashlib.sha256(body).hexdigest()}
    validated = HistoryEntry(Status.READY, NOW, name=VALIDATION.name, details=details)
    ready: dict[str, Any] = {"offset": 9, "status": Status.READY, "completed_at": NOW, "history": (validated,)}
    insert(Path("d"), an_upload("a", **ready), an_upload("b", **ready), an_upload("c", **(ready | {"history": ()})))
    run("sweep", "--data-dir", "d")  # makes the directory of the bytes
    for name in "abc":
        Path("d", "uploads", name).write_bytes(body)
    result = run("fsck", "--checksums", "--progress", "--bytes-per-second", "50MiB", "--data-dir", "d")
    summary = "records and bytes agree\nchecksums: right 2, wrong 0, unknown 1; 0.0 MiB read\n"
    assert (0, summary) == (result.exit_code, result.stdout), result.output
    Path("d", "uploads", "b").write_bytes(b"12345678X")
    assert 0 == run("fsck", "--data-dir", "d").exit_code
    for flags in (["--checksums"], ["--checksums", "--repair"]):
        result = run("fsck", *flags, "--data-dir", "d")
        assert 2 == result.exit_code
        assert result.stdout.startswith("mismatch    b: its bytes have changed: restore them from a backup")
        assert "problems: 1, not repaired: 1\nchecksums: right 1, wrong 1, unknown 1" in result.stdout
    (line,) = run("fsck", "--checksums", "--json", "--data-dir", "d").stdout.splitlines()
    assert ("mismatch", "b") == (json.loads(line)["problem"], json.loads(line)["upload_id"])
    assert b"12345678X" == Path("d", "uploads", "b").read_bytes()


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "1.5"])
def test_bytes_per_second_that_are_no_size(text: str) -> None:
    """Exit code 2 and a sentence."""
    run("migrate", "--data-dir", "d")
    result = run("fsck", "--checksums", f"--bytes-per-second={text}", "--data-dir", "d")
    assert (2, True) == (result.exit_code, "--bytes-per-second is" in result.output), result.output


def test_pace_without_reading() -> None:
    """An option that would have no effect is refused."""
    result = run("fsck", "--bytes-per-second", "1MiB", "--data-dir", "d")
    assert (2, True) == (result.exit_code, "is for --checksums and --read" in result.output)
