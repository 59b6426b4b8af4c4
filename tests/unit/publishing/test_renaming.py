"""A rename that replaces nothing, in one step and in two."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.publishing import without_renameat2
from tusd_py.publishing.renaming import rename_exclusively


@pytest.mark.parametrize("in_one_step", [True, False])
def test_rename_exclusively(tmp_path: Path, in_one_step: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file gets a free name, and keeps its own if the name is used."""
    if not in_one_step:
        without_renameat2(monkeypatch)
    source, other = tmp_path / "caf\u00e9", tmp_path / "other"
    source.write_bytes(b"mine")
    other.write_bytes(b"theirs")
    assert not rename_exclusively(source, other)
    assert rename_exclusively(source, tmp_path / "free")
    assert {"other": b"theirs", "free": b"mine"} == {
        name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)
    }


@pytest.mark.parametrize("in_one_step", [True, False])
def test_failed_rename_leaves_nothing(tmp_path: Path, in_one_step: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reserved name is given back."""
    if not in_one_step:
        without_renameat2(monkeypatch)
    with pytest.raises(FileNotFoundError):
        rename_exclusively(tmp_path / "missing", tmp_path / "free")
    assert [] == os.listdir(tmp_path)
