"""Prepares the data directory and the database for the commands that use them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from tusd_py.backup import BackupError, ensure_no_restore
from tusd_py.contracts.records import RecordsError
from tusd_py.settings import Settings, describe_database
from tusd_py.wiring.data_directory import DATA_DIR_MODE, exposed_data
from tusd_py.wiring.databases import migrate_at_once, migrate_records, pending_migrations

_log = logging.getLogger("tusd_py.serving")
T = TypeVar("T")


class StartupError(Exception):
    """The operator must change something; the text says what."""


def prepare(settings: Settings) -> None:
    """Create the data directory if it is missing and apply pending migrations. Raises ``StartupError``."""
    if settings.storage.kind != "memory":
        ensure_data_dir(Path(settings.storage.data_dir))
    try:
        ensure_no_restore(settings)
        for sentence in exposed_data(settings):
            _log.warning("other users can read the data", extra={"advice": sentence})
        steps = migrate_at_once(settings)
        for step in _in_subprocess(migrate_records, settings) if steps is None else steps:
            _log.info("migration applied", extra={"step": step})
    except BackupError as error:
        raise StartupError(str(error)) from error
    except OSError as error:
        raise StartupError(reason(error)) from error
    except RecordsError as error:
        raise StartupError(f"the database {describe_database(settings)}: {error}") from error


def require_database(settings: Settings) -> None:
    """Check that the database exists and has the schema of this version; changes nothing. Raises ``StartupError``.

    For commands that read or change what is recorded: a mistyped directory must not become a new one, and a newer
    program must not migrate the database under a running older server.
    """
    if not settings.has_database:
        return
    path, database = settings.database_path, describe_database(settings)
    if path is not None and not Path(path).exists():
        raise StartupError(f"there is no database at {path}: check --data-dir, the configuration and the directory")
    try:
        if pending_migrations(settings):
            raise StartupError(f"the database {database} has the schema of another version: run tusd-py migrate first")
    except (OSError, RecordsError) as error:
        raise StartupError(f"the database {database}: {reason(error)}") from error


def ensure_data_dir(data_dir: Path) -> None:
    """Create the data directory, accessible to its owner and group only, and check that it is writable.

    Raises ``StartupError``.
    """
    if data_dir.exists() and not data_dir.is_dir():
        raise StartupError(f"storage.data_dir {data_dir} is a file, not a directory")
    try:
        data_dir.mkdir(mode=DATA_DIR_MODE, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        raise StartupError(f"storage.data_dir {data_dir} cannot be written to: {error.strerror}") from error


def reason(error: Exception) -> str:
    """The text of an error of the operating system or of a backend, as one sentence."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _in_subprocess(work: Callable[[Settings], T], settings: Settings) -> T:
    """Call ``work`` in a forked process, so that the 12 MiB of modules that a migration loads do not stay in memory."""
    if "fork" not in get_all_start_methods():
        return work(settings)
    # Not a pool: its semaphores need /dev/shm, which a container may not have.
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_result, args=(sender, work, settings))
    process.start()
    sender.close()
    try:
        result, failure = receiver.recv()
    except EOFError:
        raise StartupError("the process that migrates the database ended without a result") from None
    finally:
        receiver.close()
        process.join()
    if failure is not None:
        raise failure
    migrated: T = result
    return migrated


def _send_result(sender: Connection, work: Callable[[Settings], T], settings: Settings) -> None:
    try:
        result = work(settings), None
    except (OSError, RecordsError) as failure:
        sender.send((None, failure))
    else:
        sender.send(result)
