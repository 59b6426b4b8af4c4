"""Commands that use what is recorded create no directory and no database, and migrate none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.support.command import run
from tusd_py.cli import app

#: These make the data directory, need none, or wait for the database.
CREATING = {"serve", "worker", "migrate", "config", "restore", "reload", "wait-for-db"}

#: Arguments that must be of a certain form.
ARGUMENTS = {("subject",): "user:1", ("schedules", "run", "name"): "reconcile_quotas"}

#: What a command needs beside its arguments.
OPTIONS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("quota", "set"): ("--default",),
    ("user", "erase"): ("--yes",),
    ("user", "roles"): ("--role", "viewer"),
}


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command with its arguments."""
    if hasattr(command, "commands"):
        for name in command.commands:
            yield from leaves(command.get_command(None, name), (*words, name))
    else:
        arguments = [parameter.name for parameter in command.params if parameter.param_type_name == "argument"]
        given = [ARGUMENTS.get((*words, name), ARGUMENTS.get((name,), "1")) for name in arguments]
        yield (*words, *given, *OPTIONS.get(words, ()))


COMMANDS = sorted(words for words in leaves(typer.main.get_command(app)) if words[0] not in CREATING)


def test_every_command_is_tried() -> None:
    """The list of commands is read from the program."""
    assert {("jobs", "list"), ("jobs", "show", "1"), ("events", "tail"), ("endpoints", "list")} <= set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_mistyped_directory_is_not_created(words: tuple[str, ...], tmp_path: Path) -> None:
    """A directory that does not exist is an error for all of them except ``check``, which says what serve would do."""
    result = run(*words, "--data-dir", "typo", SERVER__PORT="0", QUOTAS__ENABLED="true")
    assert result.exit_code == (0 if words == ("check",) else 2), result.output
    if words != ("check",):
        assert "there is no database at typo/tusd.sqlite3" in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [words for words in COMMANDS if words != ("check",)], ids=" ".join)
def test_old_database_is_not_migrated(words: tuple[str, ...], tmp_path: Path) -> None:
    """An older server may still use it; the operator is told what to do."""
    assert run("migrate", "--data-dir", "d").exit_code == 0
    with closing(sqlite3.connect(tmp_path / "d" / "tusd.sqlite3")) as database:
        database.execute("UPDATE alembic_version SET version_num = '0001'")
        database.commit()
    result = run(*words, "--data-dir", "d", QUOTAS__ENABLED="true")
    assert result.exit_code == 2
    assert "run tusd-py migrate first" in result.output
    with closing(sqlite3.connect(tmp_path / "d" / "tusd.sqlite3")) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
