"""An empty database with the newest schema, created once, since migrations take longer than most tests."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from tusd_py.records.sql.schema import bring_up_to_date


@cache
def empty_database() -> bytes:
    """The content of its file."""
    with tempfile.TemporaryDirectory(prefix="tusd-py-test-") as folder:
        path = Path(folder) / "records.sqlite3"
        bring_up_to_date(f"sqlite:///{path}")
        return path.read_bytes()
