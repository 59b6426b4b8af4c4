"""Makes the locker that the settings name."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tusd_py.contracts.locker import Locker
from tusd_py.locking.file import FileLocker
from tusd_py.locking.lease import LeaseLocker
from tusd_py.notify.datagrams import DatagramEndpoint
from tusd_py.records.sql.leases import SqlLeases
from tusd_py.settings import Settings


def make_locker(settings: Settings, directory: Path) -> Locker:
    """The locker; ``directory`` is where the processes of one machine meet."""
    locking = settings.locking
    if locking.kind == "file":
        return FileLocker(directory, partial(DatagramEndpoint, directory), guard=directory.parent)
    if locking.kind == "redis":
        # Imported here: no other process needs the library.
        from tusd_py.locking.redis import RedisLeases

        return LeaseLocker(RedisLeases(settings.redis.url), lease_seconds=locking.lease_seconds)
    leases = SqlLeases(settings.records.url, listen_url(settings))
    return LeaseLocker(leases, lease_seconds=locking.lease_seconds)


def listen_url(settings: Settings) -> str | None:
    """Where PostgreSQL notifies this process; ``None`` if there is no such place."""
    if not settings.has_database or settings.database_path is not None or settings.records.listen_url == "poll":
        return None
    return settings.records.listen_url or settings.records.url
