"""What all commands have in common: the version, problems with settings, and exit code 2."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.command import isolate, run
from tusd_py.cli import COMMANDS


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
    """Every command refuses the database of a newer version that it cannot use with a sentence, not a traceback."""
    assert 0 == run("migrate", "--data-dir", "d").exit_code
    with closing(sqlite3.connect(tmp_path / "d" / "tusd.sqlite3")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999', oldest_revision = '9998'")
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


@pytest.mark.parametrize("command", COMMANDS)
def test_summary_is_the_first_line_of_the_help(command: str) -> None:
    """The list of commands, which imports none of them, has the sentence of each command's own help."""
    assert COMMANDS[command] in run(command, "-h").output.splitlines()[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_kinds_of_values(command: str) -> None:
    """The values of options are named by what they are, not by a type of Python; ``-h`` is ``--help``."""
    result = run(command, "-h")
    assert 0 == result.exit_code
    assert "<str>" not in result.output
    assert result.output == run(command, "--help").output


def test_unknown_command_is_answered_with_a_suggestion() -> None:
    """A misspelled command is refused with exit code 2 and the name of a similar one."""
    result = run("serv")
    assert 2 == result.exit_code
    assert "Did you mean 'serve'" in result.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["jobs", "show", "x"], "job 'x' does not exist: the id of a job is a whole number"),
        (["jobs", "drop", "99999999999999999999"], "job '99999999999999999999' does not exist: the id of a job is a"),
        (["jobs", "show", "7"], "job 7 does not exist; tusd-py jobs list shows the newest jobs"),
        (["jobs", "retry", "7"], "job 7 does not exist; tusd-py jobs list shows the newest jobs"),
        (["jobs", "drop", "7"], "job 7 does not exist; tusd-py jobs list shows the newest jobs"),
        (["jobs", "list", "--state", "x"], "--state is 'x'; it must be one of waiting, running, done, dead"),
        (
            ["endpoints", "open", "nope"],
            "nope is not closed, and no webhook endpoint of the settings has this name; the settings have none",
        ),
        (["jobs", "list", "--limit", "0"], "--limit is '0'; it must be a whole number from 1 to 10000"),
        (["events", "tail", "--lines", "x"], "--lines is 'x'; it must be a whole number from 1 to 10000"),
    ],
)
def test_wrong_id_state_or_number_exits_with_2(arguments: list[str], sentence: str) -> None:
    """Mistakes in ids, states and numbers are answered with one sentence of ours."""
    assert 0 == run("migrate", "--data-dir", "d").exit_code
    result = run(*arguments, "--data-dir", "d")
    assert 2 == result.exit_code
    assert result.stderr.startswith(f"tusd-py: {sentence}")
    assert 1 == len(result.stderr.splitlines())
