"""The suite against our own server with records in PostgreSQL: the same cases pass as with SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.cases import all_cases
from tests.conformance.run import Outcome, run_cases
from tests.conformance.subject import probe
from tests.conformance.table import conversation
from tests.conformance.test_conformance import MAY_SKIP, TIGHT_SETTINGS
from tests.support.postgres import shared_server
from tests.support.server import start_server


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["file", "records"])
def test_every_case_on_postgresql(tmp_path: Path, kind: str) -> None:
    """Every case passes, with locks in files and in the database."""
    postgres = shared_server()
    started = []
    try:
        for name, tight in (("default", {}), ("tight", TIGHT_SETTINGS)):
            settings = {"RECORDS__URL": postgres.url(postgres.create_database()), "LOCKING__KIND": kind, **tight}
            started.append(start_server(tmp_path / name, settings=settings))
        subjects = probe(started[0].url), probe(started[1].url, is_impatient=True)
        verdicts = run_cases(all_cases(), *subjects)
    finally:
        for server in started:
            server.stop()
    failed = [
        line
        for verdict in verdicts
        if verdict.outcome is not Outcome.PASS and not (verdict.outcome is Outcome.SKIP and verdict.case.id in MAY_SKIP)
        for line in conversation(verdict)
    ]
    assert not failed, "\n".join(failed)
