"""The indexes of lists: created on demand, once, and used by the statements that need them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tusd_py.model.upload import Status
from tusd_py.protocol.listing import UploadFilter
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.driver import open_driver
from tusd_py.records.sql.list_indexes import INDEXES
from tusd_py.records.sql.search import compile_search_statements, search_query

pytestmark = pytest.mark.anyio


def indexes(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}


async def test_indexes_exist_only_on_demand(tmp_path: Path) -> None:
    """Without lists a creation pays for none of them; they stay once they exist."""
    path = tmp_path / "records.sqlite3"
    for lists, expected in ((False, set()), (True, set(INDEXES)), (True, set(INDEXES)), (False, set(INDEXES))):
        database = await SqlDatabase.open(f"sqlite:///{path}", lists=lists)
        await database.close()
        assert indexes(path) & set(INDEXES) == expected


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (UploadFilter(), "ix_uploads_status_created_at"),
        (UploadFilter(statuses=frozenset({Status.FAILED}), created_from=5), "ix_uploads_status_created_at"),
        (UploadFilter(owner="ada", name_prefix="x"), "ix_uploads_owner_created_at"),
        (UploadFilter(declared_type="a/b"), "ix_uploads_declared_type_created_at"),
        (UploadFilter(declared_type="a/b", detected_type="c/d"), "ix_uploads_detected_type_created_at"),
        (UploadFilter(owner="alice", grant="code:1"), "ix_uploads_grant"),
        (UploadFilter(name_prefix="x", statuses=frozenset({Status.READY})), "ix_uploads_name_key"),
    ],
    ids=["all", "status", "owner", "declared", "detected", "grant", "name"],
)
async def test_lists_use_their_index(tmp_path: Path, wanted: UploadFilter, index: str) -> None:
    """SQLite reads no whole table for a list, whatever it filters by."""
    path = tmp_path / "records.sqlite3"
    await (await SqlDatabase.open(f"sqlite:///{path}", lists=True)).close()
    query = search_query(compile_search_statements(open_driver(f"sqlite:///{path}").dialect), wanted, None, 100)
    with closing(sqlite3.connect(path)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query.statement}", query.values)]
    reads = [step for step in plan if "uploads" in step]
    assert reads and all(f"USING INDEX {index}" in step for step in reads), plan
