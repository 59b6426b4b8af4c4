"""``tusd-py wait-for-db``: its exit status, and that it waits for a bounded time and changes nothing."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tests.support.command import run
from tests.support.ports import free_port
from tests.support.postgres import blank_database
from tusd_py.records.sql.schema import bring_up_to_date


def test_a_migrated_database_is_ready(tmp_path: Path) -> None:
    """It exits with 0 at once."""
    assert run("migrate", "--data-dir", str(tmp_path)).exit_code == 0
    result = run("wait-for-db", "--data-dir", str(tmp_path))
    assert (result.exit_code, result.output.endswith("is ready\n")) == (0, True)


def test_a_missing_database_is_not_created(tmp_path: Path) -> None:
    """It exits with 1 after the time, and says what is missing."""
    result = run("wait-for-db", "--timeout", "0", "--data-dir", str(tmp_path))
    assert result.exit_code == 1
    assert "migrations are pending" in result.output
    assert [*tmp_path.iterdir()] == []


def test_it_waits_for_the_migrations_of_another_process() -> None:
    """With PostgreSQL, as in a compose file: it returns when they are applied."""
    url = blank_database()
    migrating = threading.Timer(0.3, bring_up_to_date, [url])
    migrating.start()
    result = run("wait-for-db", "--timeout", "60", RECORDS__URL=url)
    migrating.join()
    assert result.exit_code == 0, result.output


def test_a_server_that_cannot_be_reached_ends_the_wait_without_its_password() -> None:
    """The wait is bounded, and the reason has no credentials."""
    url = f"postgresql://tusd:hidden@127.0.0.1:{free_port()}/tusd"
    begun = time.monotonic()
    result = run("wait-for-db", "--timeout", "0.2", RECORDS__URL=url)
    assert result.exit_code == 1
    assert "127.0.0.1" in result.output
    assert "hidden" not in result.output
    assert time.monotonic() - begun < 30


def test_mistakes_exit_with_2() -> None:
    """A time that is none is a mistake of the operator."""
    for text in ("soon", "-1", "inf", "nan"):
        assert run("wait-for-db", "--timeout", text).exit_code == 2


def test_records_in_memory_need_no_wait() -> None:
    """There is nothing to wait for."""
    assert run("wait-for-db", RECORDS__URL="memory").exit_code == 0
