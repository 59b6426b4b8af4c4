"""Settings of what keeps bytes, records and locks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from tusd_py.settings.values import Directory, Expects, FileMode, PositiveSeconds, RedisUrl, Section, Text

SQLITE = "sqlite:///"
POSTGRESQL = ("postgresql://", "postgresql+psycopg://", "postgres://")


class StorageSettings(Section):
    """Where the bytes of uploads are stored."""

    kind: Annotated[Literal["disk", "s3", "memory"], Expects('"disk", "s3" or "memory"')] = "disk"
    data_dir: Directory = "./data"
    durability: Annotated[Literal["completion", "power"], Expects('"completion" or "power"')] = "completion"
    file_mode: FileMode = "0640"


class RecordsSettings(Section):
    """Which database holds the records of uploads."""

    url: Text = ""
    listen_url: Text = ""

    def problems(self) -> Iterator[str]:
        """One sentence for each combination of values that cannot work."""
        is_sqlite = self.url.startswith(SQLITE) and self.url != SQLITE
        if self.url not in ("", "memory") and not is_sqlite and not self.url.startswith(POSTGRESQL):
            yield (
                # Only the scheme is repeated: the rest may contain a password.
                f"records.url begins with {self.url.split(':')[0]!r}, which is not supported; use "
                "sqlite:///relative/path, sqlite:////absolute/path, postgresql://user@host/database, "
                '"memory", or leave it empty for tusd.sqlite3 in storage.data_dir'
            )
        if self.listen_url not in ("", "poll") and not self.listen_url.startswith(POSTGRESQL):
            yield (
                'records.listen_url must be "poll", empty, or the URL of a direct connection to PostgreSQL '
                "(postgresql://user@host/database)"
            )


class RedisSettings(Section):
    """The Redis server for locks and for the broker of the workers."""

    url: RedisUrl = ""


class LockingSettings(Section):
    """How requests for one upload are kept apart."""

    kind: Annotated[Literal["file", "redis", "records"], Expects('"file", "redis" or "records"')] = "file"
    lease_seconds: Annotated[PositiveSeconds, Field(ge=1), Expects("a number of seconds, at least 1")] = 15
