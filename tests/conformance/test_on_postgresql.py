"""The suite against our own server with records in PostgreSQL: the same cases pass as with SQLite."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conformance.cases import all_cases
from tests.conformance.run import Outcome, run_cases
from tests.conformance.subject import probe
from tests.conformance.table import conversation
from tests.conformance.test_conformance import MAY_SKIP, TIGHT_SETTINGS
from tests.support.server import RunningServer, start_server
from tests.support.stacks import running_stack


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("stack", ["postgresql, files", "postgresql, disk", "postgresql, redis, s3"])
def test_every_case_on_postgresql(tmp_path: Path, stack: str) -> None:
    """Every case passes, with locks in files, in the database and in Redis, with files and with S3."""
    started: list[RunningServer] = []
    with ExitStack() as running:
        running.callback(lambda: [server.stop() for server in started])
        for name, tight in (("default", {}), ("tight", TIGHT_SETTINGS)):
            settings = {**running.enter_context(running_stack(stack)), **tight}
            if "files" in stack:
                settings["LOCKING__KIND"] = "file"
            started.append(start_server(tmp_path / name, settings=settings))
        subjects = probe(started[0].url), probe(started[1].url, is_impatient=True)
        verdicts = run_cases(all_cases(), *subjects)
    failed = [
        line
        for verdict in verdicts
        if verdict.outcome is not Outcome.PASS and not (verdict.outcome is Outcome.SKIP and verdict.case.id in MAY_SKIP)
        for line in conversation(verdict)
    ]
    assert not failed, "\n".join(failed)
