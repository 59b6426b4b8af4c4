"""Makes sure that the store of the settings is the one of the records."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import cast

from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.store import Store, StoreError, StoreUnavailable
from tusd_py.contracts.store_marks import ForeignStore, MarkedStore
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.settings import Settings
from tusd_py.uploads.store_mark import adopt_store, difference, verify_store
from tusd_py.wiring.data_directory import upload_directory
from tusd_py.wiring.databases import open_database, pending_migrations
from tusd_py.wiring.stores import describe_bucket, make_store

log = logging.getLogger(__name__)

#: A server with a directory ends if it is refused; one with a bucket asks again at each request.
_BUCKET_WAIT_SECONDS = 0.5
_DIRECTORY_WAIT_SECONDS = 5.0
#: S3 is asked several times, with delays between.
_COMPARE_SECONDS = 10.0


async def guard_store(settings: Settings, store: Store, database: SqlDatabase | None) -> None:
    """Let ``store`` verify its mark. A directory is verified at once; a bucket, which may be away, before its use.

    A directory or database that cannot be used now is verified by the next probe. Raises ``ForeignStore``.
    """
    if database is None or settings.storage.kind == "memory":
        return
    marked = cast(MarkedStore, store)
    is_bucket = settings.storage.kind == "s3"
    verify = partial(
        verify_store,
        marked,
        database.store_marks,
        describe_store(settings),
        is_store_shared=is_bucket,
        is_database_shared=settings.database_path is None,
        wait_seconds=_BUCKET_WAIT_SECONDS if is_bucket else _DIRECTORY_WAIT_SECONDS,
    )
    marked.guard(verify)
    if is_bucket:
        return
    try:
        await verify()
    except ForeignStore:
        raise
    except (StoreError, RecordsError) as error:
        log.warning("could not verify that the uploads are those of the database", extra={"reason": str(error)})


def mark_problem(settings: Settings) -> str:
    """Why the store is not the one of the records; empty if it is, or if the next start marks it. Changes nothing.

    Blocks; raises ``OSError``, ``StoreError`` or ``RecordsError``.
    """
    path, is_bucket = settings.database_path, settings.storage.kind == "s3"
    if not settings.has_database or settings.storage.kind == "memory":
        return ""
    if (path is not None and not Path(path).exists()) or pending_migrations(settings):
        return ""

    async def compare() -> str:
        async with asyncio.timeout(_COMPARE_SECONDS):
            return await _compare()

    async def _compare() -> str:
        database = await open_database(settings)
        assert database is not None, "the settings name one"
        try:
            known, found, has_bytes = await database.store_marks.find(), "", await database.store_marks.has_bytes()
            if is_bucket or upload_directory(settings).exists():
                store = make_store(settings)
                try:
                    found = await cast(MarkedStore, store).read_mark()
                finally:
                    await store.close()
        finally:
            await database.close()
        is_open = path is not None and not has_bytes
        return difference(describe_store(settings), known, found, is_bucket and path is None and not has_bytes, is_open)

    return asyncio.run(compare())


async def adopt_configured_store(settings: Settings) -> str:
    """Declare that the store of the settings has the bytes of the records; return its description for the operator.

    Raises ``OSError``, ``StoreError`` or ``RecordsError``.
    """
    database = await open_database(settings)
    if database is None or settings.storage.kind == "memory":
        raise StoreUnavailable("uploads or records are in memory: nothing is kept that could belong together")
    try:
        store = make_store(settings)
        try:
            await adopt_store(cast(MarkedStore, store), database.store_marks)
        finally:
            await store.close()
    finally:
        await database.close()
    return describe_store(settings)


def describe_store(settings: Settings) -> str:
    """The bucket with its prefix, or the directory."""
    if settings.storage.kind != "s3":
        return f"the directory {upload_directory(settings).absolute()}"
    prefix = settings.s3.prefix
    return f"{describe_bucket(settings)}, prefix {prefix}" if prefix else describe_bucket(settings)
