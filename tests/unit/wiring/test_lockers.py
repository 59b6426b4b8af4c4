"""Which locker the settings name, and where PostgreSQL notifies this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tusd_py.locking.file import FileLocker
from tusd_py.locking.lease import LeaseLocker
from tusd_py.settings import Settings
from tusd_py.wiring.lockers import listen_url, make_locker

_DATABASE = "postgresql://tusd@db/tusd"


def settings(**sections: dict[str, str]) -> Settings:
    return Settings.model_validate(sections)


@pytest.mark.parametrize(
    ("chosen", "kind"),
    [
        (settings(), FileLocker),
        (settings(records={"url": _DATABASE}), FileLocker),
        (settings(records={"url": _DATABASE}, locking={"kind": "records"}), LeaseLocker),
        (settings(redis={"url": "redis://r/0"}, locking={"kind": "redis"}), LeaseLocker),
    ],
)
def test_locker_of_the_settings(tmp_path: Path, chosen: Settings, kind: type[object]) -> None:
    """``locking.kind`` decides; nothing is connected before the first lock."""
    assert isinstance(make_locker(chosen, tmp_path / "locks"), kind)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ({}, None),
        ({"url": "memory"}, None),
        ({"url": _DATABASE}, _DATABASE),
        ({"url": _DATABASE, "listen_url": "poll"}, None),
        ({"url": _DATABASE, "listen_url": "postgresql://direct/tusd"}, "postgresql://direct/tusd"),
    ],
)
def test_where_notifications_come_from(records: dict[str, str], expected: str | None) -> None:
    """From the database itself, unless another URL or polling is set; SQLite has none."""
    assert listen_url(settings(records=records)) == expected
