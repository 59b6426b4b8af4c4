"""The statements, and how the database goes about them."""

from __future__ import annotations

import dataclasses
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy.dialects import postgresql

from tusd_py.records.sql.job_statements import JobStatements, compile_job_statements
from tusd_py.records.sql.migrate import migrate
from tusd_py.records.sql.sqlite import open_engine
from tusd_py.records.sql.statements import Statements, compile_statements

NAMES = [field.name for field in dataclasses.fields(Statements)]


def plan_of(statement: str, connection: sqlite3.Connection) -> list[str]:
    """How the database goes about it."""
    steps = connection.execute(f"EXPLAIN QUERY PLAN {statement}", defaultdict(lambda: "[]")).fetchall()
    return [step for *_, step in steps]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("statements") / "records.sqlite3"
    migrate(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as opened:
        yield opened


@pytest.mark.parametrize("name", NAMES)
def test_no_statement_walks_a_table(name: str, connection: sqlite3.Connection) -> None:
    """Each statement finds its rows by an index, and has them in order from it: a million uploads make none slow."""
    steps = plan_of(getattr(compile_statements(open_engine("sqlite:///x").dialect), name), connection)
    assert [step for step in steps if "SCAN upload" in step or "TEMP B-TREE" in step] == []
    assert bool([step for step in steps if "USING" in step and "INDEX" in step]) is not name.startswith("insert")


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(JobStatements)])
def test_no_statement_of_the_outbox_walks_a_table(name: str, connection: sqlite3.Connection) -> None:
    """Neither do those of events and jobs: what is done, or waits behind another, is never walked through."""
    steps = plan_of(getattr(compile_job_statements(open_engine("sqlite:///x").dialect), name), connection)
    walked = re.compile(r"SCAN (events|jobs|earlier|sequence_key)\b|TEMP B-TREE")
    assert [step for step in steps if walked.search(step)] == []
    assert bool([step for step in steps if ("USING" in step and "INDEX" in step) or "PRIMARY KEY" in step]) is (
        name != "add_event"
    )
    if name in ("subscriptions", "ready", "next_due"):
        assert {step.partition(" INDEX ")[2].partition(" ")[0] for step in steps if "jobs" in step} == {"ix_jobs_ready"}
    if name == "prune_jobs":
        assert any("ix_jobs_done" in step for step in steps)


def test_the_statements_exist_for_postgresql() -> None:
    """Every statement compiles in PostgreSQL's dialect too, its values named as psycopg wants them."""
    compiled = compile_statements(postgresql.dialect(paramstyle="pyformat"))  # type: ignore[no-untyped-call]  # untyped there
    assert "%(seen_token)s" in compiled.update
    assert "json_array_elements_text" in compiled.find
    job_queue = compile_job_statements(postgresql.dialect(paramstyle="pyformat"))  # type: ignore[no-untyped-call]  # untyped there
    assert "is_head=true" in job_queue.promote
    assert "ON CONFLICT (key) DO NOTHING" in job_queue.add_job
