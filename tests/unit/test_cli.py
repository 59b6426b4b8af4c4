"""What all commands have in common: the version, problems with settings, and exit code 2."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.command import isolate, run


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolates the test from the developer's configuration."""
    isolate(tmp_path, monkeypatch)


def test_version_is_printed() -> None:
    """``--version`` prints name and version."""
    result = run("--version")
    assert 0 == result.exit_code
    assert result.output.startswith("tusd-py 0.")


def test_config_prints_the_documented_configuration() -> None:
    """``config --default`` prints ``config.toml`` as it stands; without the flag it says what it needs."""
    result = run("config", "--default")
    assert 0 == result.exit_code
    assert (Path(__file__).parents[2] / "config.toml").read_text() == result.stdout
    assert 2 == run("config").exit_code


@pytest.mark.parametrize("command", ["serve", "check", "migrate", "sweep"])
def test_unknown_setting_exits_with_2(command: str) -> None:
    """With a misspelled variable every command prints one sentence on standard error and exits with 2."""
    result = run(command, SERVER__PROT="1")
    assert 2 == result.exit_code
    expected = "tusd-py: server.prot (TUSD_PY_SERVER__PROT) is not a setting; did you mean server.port?\n"
    assert expected == result.stderr


def test_invalid_flag_exits_with_2() -> None:
    """A flag's value is checked like the setting that it sets."""
    result = run("serve", "--port", "seventy")
    assert 2 == result.exit_code
    assert "tusd-py: server.port is 'seventy' (--port); it must be a whole number from 0 to 65535\n" == result.stderr


def test_renamed_flag_is_refused_with_the_new_one() -> None:
    """``--workers`` is now ``--processes``; the sentence says so."""
    result = run("serve", "--workers", "2")
    assert 2 == result.exit_code
    assert "tusd-py: server.workers (--workers) was renamed to server.processes: use --processes\n" == result.stderr
    assert "--workers" not in run("serve", "--help").output


def test_missing_configuration_file_exits_with_2() -> None:
    """A configuration file that ``--config`` names must exist."""
    result = run("check", "--config", "none.toml")
    assert 2 == result.exit_code
    assert "tusd-py: the configuration file none.toml cannot be read: No such file or directory\n" == result.stderr


@pytest.mark.parametrize("command", ["migrate", "sweep", "serve", "check"])
def test_newer_database_exits_with_2(tmp_path: Path, command: str) -> None:
    """Every command refuses the database of a newer version with a sentence, not a traceback."""
    assert 0 == run("migrate", "--data-dir", "d").exit_code
    with closing(sqlite3.connect(tmp_path / "d" / "tusd.sqlite3")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    result = run(command, "--data-dir", "d", SERVER__PORT="0")
    assert 2 == result.exit_code
    assert "newer version of tusd-py" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(("command", "setting"), [("sweep", "STORAGE__KIND"), ("migrate", "RECORDS__URL")])
def test_memory_backends_cannot_be_swept_or_migrated(command: str, setting: str) -> None:
    """The memory of the server process is out of reach for another process, and the command says so."""
    result = run(command, **{setting: "memory"})
    assert 2 == result.exit_code
    assert "memory" in result.stderr
