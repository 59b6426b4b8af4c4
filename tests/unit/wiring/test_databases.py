"""Opening, migrating and checking the database that the settings name."""

from __future__ import annotations

import os
from pathlib import Path

from tusd_py.settings import Settings
from tusd_py.wiring.databases import migrate_records, pending_migrations

#: Names of directories with a meaning in URLs, and one that is not UTF-8.
ODD_NAMES = ["a%20b", "a b", "a?mode=ro", "a?b", "a#b", "file:x", os.fsdecode(b"caf\xe9")]


def settings_of(folder: Path, **sections: object) -> Settings:
    return Settings.model_validate({"storage": {"data_dir": str(folder)}, **sections})


def test_pending_migrations_are_listed_applied_and_gone(tmp_path: Path) -> None:
    """Pending migrations are listed, applied, and then gone; records in memory have none."""
    settings = settings_of(tmp_path / "data")
    pending = pending_migrations(settings)
    assert pending
    assert migrate_records(settings) == pending
    assert pending_migrations(settings) == migrate_records(settings) == []
    memory = Settings.model_validate({"records": {"url": "memory"}})
    assert pending_migrations(memory) == migrate_records(memory) == []


def test_every_data_directory_has_its_own_database(tmp_path: Path) -> None:
    """The database is in the data directory whatever characters its path has, and check names that path."""
    for number, name in enumerate(ODD_NAMES):
        settings = settings_of(tmp_path / name)
        assert pending_migrations(settings), name
        migrate_records(settings)
        assert settings.database_path == str(tmp_path / name / "tusd.sqlite3")
        assert ["tusd.sqlite3"] == sorted(os.listdir(tmp_path / name))
        assert number + 1 == len(os.listdir(tmp_path))


def test_url_of_records_is_decoded_like_any_url(tmp_path: Path) -> None:
    """An explicit URL has percent-encoded characters and options; its path is the file that is opened."""
    settings = settings_of(tmp_path, records={"url": f"sqlite:///{tmp_path}/a%20b%3F.sqlite3?timeout=3"})
    migrate_records(settings)
    assert settings.database_path == str(tmp_path / "a b?.sqlite3")
    assert ["a b?.sqlite3"] == os.listdir(tmp_path)
