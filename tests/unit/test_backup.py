"""Restores that fail. Whole backups and restores are tested with real databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tusd_py import backup
from tusd_py.settings import Settings, StorageSettings


@pytest.mark.parametrize("was_interrupted", [False, True])
def test_restore_of_tables_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was_interrupted: bool) -> None:
    """No server starts beside what an earlier attempt may have restored; otherwise nothing is left of the attempt."""

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(backup, "ensure_restorable", lambda *_, **__: None)
    monkeypatch.setattr(backup, "_stage_uploads", fail)
    if was_interrupted:
        (tmp_path / backup.RESTORING).mkdir()
    settings = Settings(storage=StorageSettings(data_dir=str(tmp_path)))
    with pytest.raises(OSError, match="the disk is full"):
        backup._restore_tables(settings, tmp_path / "backup", {}, tmp_path / "uploads", replace=True, keep=False)
    assert was_interrupted == (tmp_path / backup.RESTORING).exists()
