"""The data directory: its modes."""

from __future__ import annotations

from pathlib import Path

from tusd_py.settings import Settings
from tusd_py.wiring.data_directory import exposed_data
from tusd_py.wiring.databases import migrate_records


def settings_of(folder: Path, **sections: object) -> Settings:
    return Settings.model_validate({"storage": {"data_dir": str(folder)}, **sections})


def test_exposed_data(tmp_path: Path) -> None:
    """What other users can read is named, with what to do; nothing else is."""
    settings = settings_of(tmp_path / "data")
    assert [] == exposed_data(settings)
    migrate_records(settings)
    assert [] == exposed_data(settings)
    (tmp_path / "data").chmod(0o755)
    assert [f"other users can enter {tmp_path}/data (mode 0755): chmod 0750 it"] == exposed_data(settings)
    (tmp_path / "data/tusd.sqlite3").chmod(0o644)
    assert f"other users can read {tmp_path}/data/tusd.sqlite3 (mode 0644): chmod 0640 it" in exposed_data(settings)
