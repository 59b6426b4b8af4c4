"""The statements and their query plans."""

from __future__ import annotations

import dataclasses
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy.dialects import postgresql

from tests.support.harness import EPOCH
from tusd_py.model.audit import AuditFilter, AuditKind, AuditOutcome
from tusd_py.records.sql.accounts import compile_account_statements
from tusd_py.records.sql.audit_statements import audit_search
from tusd_py.records.sql.code_statements import compile_code_statements
from tusd_py.records.sql.endpoint_states import compile_endpoint_statements
from tusd_py.records.sql.job_statements import JobStatements, compile_job_statements
from tusd_py.records.sql.link_rows import compile_link_statements
from tusd_py.records.sql.migrate import migrate
from tusd_py.records.sql.quota_statements import compile_quota_statements
from tusd_py.records.sql.sqlite import open_engine
from tusd_py.records.sql.statements import Statements, compile_statements

NAMES = [field.name for field in dataclasses.fields(Statements)]


def plan_of(statement: str, connection: sqlite3.Connection) -> list[str]:
    """The steps of the query plan."""
    by_position = statement.count("?")
    values: Any = ("[]",) * by_position if by_position else defaultdict(lambda: "[]")
    steps = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    return [step for *_, step in steps]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("statements") / "records.sqlite3"
    migrate(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as opened:
        yield opened


@pytest.mark.parametrize("name", NAMES)
def test_statements_use_an_index(name: str, connection: sqlite3.Connection) -> None:
    """Each statement finds its rows by an index and in its order: none scans a table or sorts."""
    steps = plan_of(getattr(compile_statements(open_engine("sqlite:///x").dialect), name), connection)
    assert [step for step in steps if "SCAN upload" in step or "TEMP B-TREE" in step] == []
    assert bool([step for step in steps if "USING" in step and "INDEX" in step]) is not name.startswith("insert")


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(JobStatements)])
def test_job_statements_use_an_index(name: str, connection: sqlite3.Connection) -> None:
    """Those of events and jobs as well: jobs that are done, or not at the head of a sequence, are never scanned."""
    steps = plan_of(getattr(compile_job_statements(open_engine("sqlite:///x").dialect), name), connection)
    scanned = re.compile(r"SCAN (events|jobs|earlier|endpoint_state)\b|TEMP B-TREE")
    assert [step for step in steps if scanned.search(step)] == []
    assert bool([step for step in steps if ("USING" in step and "INDEX" in step) or "PRIMARY KEY" in step]) is (
        name != "add_event"
    )
    if name in ("subscriptions", "ready", "next_due"):
        assert {step.partition(" INDEX ")[2].partition(" ")[0] for step in steps if "jobs" in step} == {"ix_jobs_ready"}
    if name == "prune_jobs":
        assert any("ix_jobs_done" in step for step in steps)


@pytest.mark.parametrize("name", ["find", "change", "sum_untaken", "sum_taken", "take", "free", "settle_parts", "add"])
def test_quota_statements_of_one_upload_use_an_index(name: str, connection: sqlite3.Connection) -> None:
    """What the transaction of a record runs does not look at the charges of other uploads: there may be millions."""
    steps = plan_of(getattr(compile_quota_statements(open_engine("sqlite:///x").dialect), name), connection)
    assert [step for step in steps if "SCAN quota" in step or "TEMP B-TREE" in step] == []


@pytest.mark.parametrize(
    ("matching", "index"),
    [
        (AuditFilter(), "at"),
        (AuditFilter(since=EPOCH, until=EPOCH), "at"),
        (AuditFilter(verb="create"), "at"),
        (AuditFilter(verb="create", kind=AuditKind.UPLOAD, outcome=AuditOutcome.DONE, since=EPOCH), "at"),
        (AuditFilter(verb="login"), "verb"),
        (AuditFilter(kind=AuditKind.KEY, verb="create"), "kind"),
        (AuditFilter(outcome=AuditOutcome.REFUSED, until=EPOCH), "outcome"),
        (AuditFilter(address="192.0.2.7", verb="login", since=EPOCH), "address"),
        (AuditFilter(subject="a", address="192.0.2.7", until=EPOCH), "subject"),
        (AuditFilter(object_id="u", subject="a", kind=AuditKind.UPLOAD), "object_id"),
    ],
    ids=str,
)
def test_lists_of_the_audit_log_use_an_index(matching: AuditFilter, index: str, connection: sqlite3.Connection) -> None:
    """Whatever the filter: no list reads the whole log, or sorts it."""
    steps = plan_of(audit_search(open_engine("sqlite:///x").dialect, matching).statement, connection)
    assert len(steps) == 1 and f"INDEX ix_audit_entries_{index} (" in steps[0], steps


def test_links_are_found_by_an_index(connection: sqlite3.Connection) -> None:
    """The lists of administrators and the deletion of old links read only the rows that they need."""
    links = compile_link_statements(open_engine("sqlite:///x").dialect)
    accounts = compile_account_statements(open_engine("sqlite:///x").dialect)
    for statement in (links.list_all, links.prune, *accounts.end_grants):
        steps = plan_of(statement, connection)
        assert [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step] == [], steps


def test_lists_of_an_owner_use_an_index(connection: sqlite3.Connection) -> None:
    """Every client may list its links and codes: that reads no rows of others, and sorts none."""
    dialect = open_engine("sqlite:///x").dialect
    for statement in (compile_link_statements(dialect).list_of, compile_code_statements(dialect).list_of):
        steps = plan_of(statement, connection)
        assert len(steps) == 1 and "_owner (" in steps[0], steps


def test_statements_compile_for_postgresql() -> None:
    """Every statement compiles for PostgreSQL with values named as psycopg takes them; leases are locked."""
    compiled = compile_statements(postgresql.dialect(paramstyle="pyformat"))  # type: ignore[no-untyped-call]  # untyped there
    assert "%(seen_token)s" in compiled.update
    assert "json_array_elements_text" in compiled.find
    job_queue = compile_job_statements(postgresql.dialect(paramstyle="pyformat"))  # type: ignore[no-untyped-call]  # untyped there
    assert "is_head=true" in job_queue.promote
    assert job_queue.has_lease.endswith("FOR UPDATE")
    assert "ON CONFLICT (key) DO NOTHING" in job_queue.add_job
    endpoints = compile_endpoint_statements(postgresql.dialect(paramstyle="pyformat"))  # type: ignore[no-untyped-call]  # untyped there
    assert "ON CONFLICT (name) DO NOTHING" in endpoints.close
