"""Prepares the data directory and the database for the commands that use them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import TypeVar

from tusd_py.contracts.records import RecordsError
from tusd_py.settings import Settings
from tusd_py.wiring import DATA_DIR_MODE, exposed_data, migrate_records

_log = logging.getLogger("tusd_py.serving")
T = TypeVar("T")


class StartupError(Exception):
    """The operator must change something; the text says what."""


def prepare(settings: Settings) -> None:
    """Create the data directory if it is missing and apply pending migrations. Raises ``StartupError``."""
    try:
        if settings.storage.kind == "disk":
            ensure_data_dir(Path(settings.storage.data_dir))
        for sentence in exposed_data(settings):
            _log.warning("other users can read the data", extra={"advice": sentence})
        for step in _in_subprocess(migrate_records, settings):
            _log.info("migration applied", extra={"step": step})
    except (OSError, RecordsError) as error:
        raise StartupError(reason(error)) from error


def ensure_data_dir(data_dir: Path) -> None:
    """Create the data directory, accessible to its owner and group only, and check that it is writable.

    Raises ``StartupError``.
    """
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
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as process:
        return process.submit(work, settings).result()
