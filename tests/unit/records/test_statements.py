"""The statements, and how the database goes about them."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.dialects import postgresql

from tusd_py.records.engines import open_engine
from tusd_py.records.migrating import migrate
from tusd_py.records.statements import Statements, compile_statements

NAMES = [field.name for field in dataclasses.fields(Statements)]


@pytest.mark.parametrize("name", NAMES)
def test_no_statement_walks_a_table(name: str, tmp_path: Path) -> None:
    """Each statement finds its rows by an index, and has them in order from it: a million uploads make none slow."""
    url = f"sqlite:///{tmp_path}/records.sqlite3"
    migrate(url)
    statement = getattr(compile_statements(open_engine(url).dialect), name)
    with closing(sqlite3.connect(tmp_path / "records.sqlite3")) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", defaultdict(lambda: "[]")).fetchall()
    steps = [step for *_, step in plan]
    assert [step for step in steps if "SCAN upload" in step or "TEMP B-TREE" in step] == []
    assert bool([step for step in steps if "USING" in step and "INDEX" in step]) is not name.startswith("add")


def test_the_statements_exist_for_postgresql() -> None:
    """Every statement compiles in PostgreSQL's dialect too, its values named as psycopg wants them."""
    compiled = compile_statements(postgresql.dialect(paramstyle="pyformat"))  # type: ignore[no-untyped-call]  # untyped there
    assert "%(seen_token)s" in compiled.replace
    assert "json_array_elements_text" in compiled.find
