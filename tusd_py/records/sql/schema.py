"""Whether a database has the newest schema, asked at every start; the steps that bring it there are loaded on need."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tusd_py.records.sql.sqlite import connect_driver, open_engine

_STEPS = Path(__file__).parent / "migrations" / "versions"


def bring_up_to_date(url: str) -> list[str]:
    """Apply every step that the database at ``url`` lacks, and return what they were; nothing is the usual answer.

    Blocks. Raises ``RecordsUnavailable``, also for a database that a newer version of the program has written.
    """
    if is_current(url):
        return []
    # Alembic is 12 MiB of memory and a third of the time to start, for what is done once a version.
    from tusd_py.records.sql.migrate import migrate

    return migrate(url)


def pending(url: str) -> list[str]:
    """The steps that ``bring_up_to_date`` would apply. Changes nothing. Raises ``RecordsUnavailable``."""
    if is_current(url):
        return []
    from tusd_py.records.sql.migrate import pending as pending_steps

    return pending_steps(url)


def is_current(url: str) -> bool:
    """Whether the database has exactly the schema of this version; False where that cannot be read, too."""
    engine = open_engine(url)
    if not Path(str(engine.url.database)).exists():
        return False
    try:
        with closing(connect_driver(engine)) as driver:
            return [(newest_revision(),)] == driver.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.Error:
        return False


def newest_revision() -> str:
    """The revision that the newest step brings: its file is called ``r`` and the revision, and then what it does."""
    return max(step.name for step in _STEPS.glob("r*.py"))[1:].partition("_")[0]
