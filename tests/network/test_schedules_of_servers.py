"""Schedules of several servers: each run once, whatever is killed and whatever the clocks of the machines say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.client import create, patch_headers, request
from tests.support.command import run
from tests.support.faults import KilledAt, environment, marker_of, set_clock
from tests.support.grants import becomes
from tests.support.postgres import new_database
from tests.support.server import RunningServer, start_server

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(300)]

EVERY_SECONDS = 2
SETTINGS = {
    "API__ENABLED": "true",
    "AUDIT__ENABLED": "true",
    "QUOTAS__ENABLED": "true",
    "SCHEDULES__SEAL_AUDIT": f"every {EVERY_SECONDS} seconds",
    "SCHEDULES__RECONCILE_QUOTAS": f"every {EVERY_SECONDS} seconds",
}
#: How wrong the clocks of the machines are.
CLOCKS = (0.0, 3600.0, -7200.0)


class Machines:
    """Servers with a data directory and a worker of their own each, on one PostgreSQL; they are killed at the end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = new_database()
        self.servers: dict[int, RunningServer] = {}

    def start(self, number: int, *, killed_at: KilledAt | None = None) -> RunningServer:
        home = self.directory / f"machine-{number}"
        home.mkdir(exist_ok=True)
        set_clock(home, CLOCKS[number])
        variables = environment(home, has_clock=True, killed_at=killed_at)
        settings = {**SETTINGS, "RECORDS__URL": self.url, "LOCKING__KIND": "records"}
        self.servers[number] = start_server(home / "data", settings=settings, variables=variables)
        return self.servers[number]

    def kill(self, number: int) -> None:
        self.servers.pop(number).kill()

    def rows(self, query: str) -> list[Any]:
        with closing(psycopg.connect(self.url)) as connection:
            return connection.execute(query.encode()).fetchall()

    async def states(self, number: int) -> dict[str, Any]:
        answer = await request("GET", f"{self.servers[number].root}/api/schedules", {})
        return {each["name"]: each for each in json.loads(answer.body)["schedules"]}

    async def upload(self, number: int) -> None:
        url = await create(self.servers[number].url, 4)
        assert (await request("PATCH", url, patch_headers(0), b"four")).status == 204


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    running = Machines(tmp_path)
    yield running
    for number in [*running.servers]:
        running.kill(number)


async def test_each_run_takes_place_once(machines: Machines) -> None:
    """Three servers whose clocks differ by hours, killed one after the other while schedules run."""
    for number in range(len(CLOCKS)):
        await asyncio.to_thread(machines.start, number)
    for round_ in range(6):
        victim = round_ % len(CLOCKS)
        for number in machines.servers:
            await machines.upload(number)
        await asyncio.sleep(EVERY_SECONDS)
        await asyncio.to_thread(machines.kill, victim)
        await asyncio.to_thread(machines.start, victim)
    # A run whose process was killed is taken over when its lease has ended.
    ended = datetime.now(UTC)

    async def has_run() -> bool:
        states = await machines.states(0)
        often = [states[name] for name in ("seal_audit", "reconcile_quotas")]
        return all(each["outcome"] == "done" and datetime.fromisoformat(each["ended_at"]) > ended for each in often)

    await becomes(has_run, timeout_seconds=150)
    due_times = [
        datetime.fromisoformat(key.split(" ")[2])
        for (key,) in machines.rows("SELECT key FROM jobs WHERE actor = 'schedules' ORDER BY id")
    ]
    assert len(due_times) > 5
    assert due_times == sorted(set(due_times))
    # By the clock of the database, not by those of the machines.
    assert all(abs(due - datetime.now(UTC)) < timedelta(minutes=10) for due in due_times)
    assert all(due.timestamp() % EVERY_SECONDS == 0 for due in due_times)
    assert machines.rows("SELECT count(*) FROM jobs WHERE actor = 'schedules' AND state = 'dead'") == [(0,)]
    entries, seals = machines.rows("SELECT (SELECT count(*) FROM audit_entries), count(*) FROM audit_seals")[0]
    assert entries >= 2 * 6 * 2
    assert seals >= 1  # while the lease of a killed run lasts there is no other run
    environ = {"RECORDS__URL": machines.url, "AUDIT__ENABLED": "true"}
    verified = await asyncio.to_thread(run, "audit", "verify", "--data-dir", str(machines.directory), **environ)
    assert (verified.exit_code, " entries in " in verified.output) == (0, True), verified.output


async def test_a_run_that_is_killed_is_repeated_and_shown(machines: Machines) -> None:
    """While the lease of a killed process lasts the schedule is shown as running; then another server does the work."""
    killed_at = KilledAt("tusd_py.access.audit_sealing:seal_entries", "before")
    first = await asyncio.to_thread(machines.start, 0, killed_at=killed_at)
    await becomes(lambda: _is_there(marker_of(first.data_dir.parent)), timeout_seconds=60)
    machines.kill(0)
    await asyncio.to_thread(machines.start, 1)
    await machines.upload(1)
    state = (await machines.states(1))["seal_audit"]
    assert (state["outcome"], state["ended_at"]) == ("running", None)
    assert machines.rows("SELECT count(*) FROM audit_seals") == [(0,)]

    async def is_done() -> bool:
        return bool((await machines.states(1))["seal_audit"]["outcome"] == "done")

    await becomes(is_done, timeout_seconds=120)
    assert machines.rows("SELECT count(*) > 0 FROM audit_seals") == [(True,)]
    assert "schedule taken over" in machines.servers[1].log.read_text()


async def _is_there(path: Path) -> bool:
    return path.exists()
