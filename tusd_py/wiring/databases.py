"""Opens, migrates, checks and copies the database that the settings name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL

from tusd_py.contracts.accounts import Accounts, ApiKeys
from tusd_py.contracts.audit_log import AuditLog
from tusd_py.contracts.endpoint_states import EndpointStates
from tusd_py.contracts.job_queue import JobQueue
from tusd_py.contracts.quota_ledger import QuotaLedger
from tusd_py.contracts.records import Records, RecordsError
from tusd_py.contracts.schedule_states import ScheduleStates
from tusd_py.notify.wakeup import notify
from tusd_py.records.sql import revocations
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.move_to_postgres import move
from tusd_py.records.sql.records_copy import RestoredRecords, parse_copy
from tusd_py.records.sql.schema import (
    bring_up_to_date,
    bring_up_to_date_at_once,
    is_current,
    pending,
    try_writing,
)
from tusd_py.records.sql.sqlite import DatabaseUrl
from tusd_py.records.sql.sqlite_copy import copy_database, damage, is_in_use
from tusd_py.records.sql.tables import to_microseconds
from tusd_py.settings import Settings
from tusd_py.wiring.data_directory import DATA_DIR_MODE, make_data_dir, wake_directory

log = logging.getLogger(__name__)
T = TypeVar("T")


async def open_database(settings: Settings) -> SqlDatabase | None:
    """The database, after applying pending migrations; ``None`` with records in memory. Raises like ``open_ports``."""
    if not settings.has_database:
        return None
    for step in await asyncio.to_thread(migrate_records, settings):
        log.info("database: %s", step)
    on_work = partial(notify, wake_directory(settings))
    durability, lists = settings.storage.durability, settings.api.enabled
    return await SqlDatabase.open(_database_url(settings), durability=durability, on_work=on_work, lists=lists)


def open_job_queue(settings: Settings) -> AbstractAsyncContextManager[JobQueue]:
    """The job queue of a database, beside a running server or without one. Raises like ``open_ports``."""
    return _opened(settings, lambda database: database.job_queue)


def open_endpoint_states(settings: Settings) -> AbstractAsyncContextManager[EndpointStates]:
    """The closed endpoints of a database, as ``open_job_queue``."""
    return _opened(settings, lambda database: database.endpoint_states)


def open_quota_ledger(settings: Settings) -> AbstractAsyncContextManager[QuotaLedger]:
    """The quota ledger of a database, as ``open_job_queue``."""
    return _opened(settings, lambda database: database.quota_ledger)


def open_accounts(settings: Settings) -> AbstractAsyncContextManager[Accounts]:
    """The accounts of a database, as ``open_job_queue``."""
    return _opened(settings, lambda database: database.accounts)


def open_api_keys(settings: Settings) -> AbstractAsyncContextManager[ApiKeys]:
    """The API keys of a database, as ``open_job_queue``."""
    return _opened(settings, lambda database: database.api_keys)


def open_audit_log(settings: Settings) -> AbstractAsyncContextManager[AuditLog]:
    """The audit log of a database, as ``open_job_queue``."""
    return _opened(settings, lambda database: database.audit_log)


def open_schedule_states(settings: Settings) -> AbstractAsyncContextManager[ScheduleStates]:
    """The states of the schedules of a database, as ``open_job_queue``."""
    return _opened(settings, lambda database: database.schedule_states)


def open_records(settings: Settings) -> AbstractAsyncContextManager[Records]:
    """The records of a database, as ``open_job_queue``."""
    return _opened(settings, lambda database: database.records)


@asynccontextmanager
async def _opened(settings: Settings, part_of: Callable[[SqlDatabase], T]) -> AsyncIterator[T]:
    if (database := await open_database(settings)) is not None:  # with records in memory there is nothing to open
        try:
            yield part_of(database)
        finally:
            await database.close()


def migrate_records(settings: Settings) -> list[str]:
    """Apply pending migrations and return their names. Blocks; raises ``OSError`` or ``RecordsError``."""
    return _migrated(settings, bring_up_to_date) or []


def migrate_at_once(settings: Settings) -> list[str] | None:
    """As ``migrate_records``, for a database that is new or current; ``None`` if the modules of migrations are needed.

    They take 12 MiB of memory.
    """
    return _migrated(settings, bring_up_to_date_at_once)


def _migrated(settings: Settings, migrate: Callable[[DatabaseUrl], list[str] | None]) -> list[str] | None:
    if not settings.has_database:
        return []
    make_data_dir(settings)
    if settings.database_path is not None:
        Path(settings.database_path).parent.mkdir(mode=DATA_DIR_MODE, parents=True, exist_ok=True)
    return migrate(_database_url(settings))


def move_records(source_url: str, target_url: str) -> dict[str, int]:
    """Move a SQLite database to PostgreSQL; the number of rows by table. Blocks; raises ``RecordsError``."""
    return move(source_url, target_url)


def pending_migrations(settings: Settings) -> list[str]:
    """The migrations that ``migrate_records`` would apply; changes nothing. Blocks; raises ``RecordsError``."""
    return [] if not settings.has_database else pending(_database_url(settings))


def database_problem(settings: Settings) -> str:
    """Why the database cannot be used as it is; empty if it can. Blocks for some seconds at most; changes nothing."""
    url = _database_url(settings)
    try:
        steps = [] if is_current(url) else pending(url)
    except RecordsError as error:
        return str(error)
    return (
        f"migrations are pending ({len(steps)}): tusd-py migrate applies them, or a server that starts" if steps else ""
    )


def _database_url(settings: Settings) -> str | URL:
    """Built of its parts, since the data directory's path may have characters with a meaning in URLs."""
    return settings.records.url or URL.create("sqlite", database=settings.database_path)


def try_records(settings: Settings) -> None:
    """Take the write lock of the database, if it exists, and change nothing. Blocks; raises ``RecordsError``."""
    path = settings.database_path
    if settings.has_database and (path is None or Path(path).exists()):
        try_writing(_database_url(settings))


def copy_records(settings: Settings, target: Path) -> dict[str, object]:
    """Copy the database as it is now to ``target``: a file, or a directory for PostgreSQL.

    Returns what describes the copy of a PostgreSQL database, as JSON, for ``restored_records``. Blocks; raises
    ``RecordsError`` or ``OSError``.
    """
    if settings.database_path is not None:
        copy_database(Path(settings.database_path), target)
        return {}
    from tusd_py.records.sql.postgres_copy import copy_to_files

    return copy_to_files(settings.records.url, target).to_json()


def changed_copy(directory: Path, description: object) -> Path | None:
    """The first file in ``directory`` that differs from what ``copy_records`` wrote there. Blocks; raises ``OSError``.

    Raises ``ValueError`` for a description that is not one of ``copy_records``.
    """
    from tusd_py.records.sql.postgres_copy import changed_file

    return changed_file(directory, parse_copy(description))


def ensure_restorable(settings: Settings, *, replace: bool) -> None:
    """Raise ``RecordsUnavailable`` with a sentence if the PostgreSQL database is in use, or has records. Blocks."""
    from tusd_py.records.sql import postgres_copy

    postgres_copy.ensure_restorable(settings.records.url, replace=replace)


def restored_records(
    settings: Settings, directory: Path, description: object, *, replace: bool, keep_credentials: bool, name: str
) -> AbstractContextManager[RestoredRecords]:
    """Restore a copy into the PostgreSQL database, in one transaction that ends with the block.

    What was there moves to the schema ``name``. See ``loaded_from_files``. Blocks.
    """
    from tusd_py.records.sql.postgres_copy import loaded_from_files

    return loaded_from_files(
        settings.records.url,
        directory,
        parse_copy(description),
        replace=replace,
        keep_credentials=keep_credentials,
        name=name,
        now=to_microseconds(datetime.now(UTC)),
    )


def records_damage(path: Path, *, is_constant: bool = False) -> str:
    """What is wrong with the database at ``path``, if anything. Blocks; raises ``RecordsError``."""
    return damage(path, is_constant=is_constant)


def keep_revocations(restored: Path, before: Path | None) -> Mapping[str, int]:
    """Revoke in a restored SQLite database what was revoked since. Blocks; raises ``RecordsError``."""
    return revocations.keep_revocations(restored, before, to_microseconds(datetime.now(UTC)))


def is_records_in_use(path: Path) -> bool:
    """Whether another process has the database at ``path`` open. Blocks."""
    return is_in_use(path)
