"""Programs in ``hooks.executables_dir`` that never run or cannot are named by ``tusd-py check`` and at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import run
from tests.support.server import start_server
from tusd_py.commands.hook_programs import program_problems
from tusd_py.model.hooks import BLOCKING
from tusd_py.settings import Settings


def problems(directory: Path, *enabled: str) -> list[str]:
    hooks = {"executables_dir": str(directory), **({"enabled_events": enabled} if enabled else {})}
    return program_problems(Settings.model_validate({"hooks": hooks}))


def make(path: Path, mode: int = 0o755) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("name", sorted(BLOCKING - {"pre-create"}))
def test_program_of_a_hook_that_is_not_enabled(name: str, tmp_path: Path) -> None:
    """It is never run, and the sentence names the setting; once the hook is enabled nothing is said."""
    path = make(tmp_path / name)
    [sentence] = problems(tmp_path)
    assert f"{path} is never run: add {name} to hooks.enabled_events, or remove the program" == sentence
    assert [] == problems(tmp_path, name)


def test_programs_that_cannot_run(tmp_path: Path) -> None:
    """A file without the right to be executed, a directory, and a link to nothing."""
    make(tmp_path / "pre-create", 0o644)
    (tmp_path / "post-finish").mkdir()
    (tmp_path / "post-create").symlink_to("gone")
    created, finished, before = problems(tmp_path)
    assert "post-create is a link to a file that does not exist: post-create is accepted without it" in created
    assert "post-finish is not an executable file: every post-finish fails" in finished
    assert "pre-create is not an executable file: every pre-create fails; chmod +x it" in before


@pytest.mark.parametrize("name", ["pre_create", "pre-create.sh", "PreCreate", "precreate"])
@pytest.mark.parametrize("mode", [0o755, 0o644])
def test_name_that_resembles_a_hook(name: str, mode: int, tmp_path: Path) -> None:
    """The sentence says the right name, whether the file is executable or not."""
    path = make(tmp_path / name, mode)
    assert [f"{path} is never run: no hook has this name; rename it to pre-create"] == problems(tmp_path)


def test_other_files(tmp_path: Path) -> None:
    """A program with an unknown name is reported; data, hidden files and directories are not."""
    make(tmp_path / "pre-upload")
    make(tmp_path / "words.txt", 0o644)
    make(tmp_path / ".hidden")
    (tmp_path / "lib").mkdir()
    make(tmp_path / "pre-create")
    [sentence] = problems(tmp_path)
    assert "pre-upload is never run: no hook has this name; the hooks are authorize, pre-create" in sentence


def test_no_directory(tmp_path: Path) -> None:
    """Without the setting, or while the directory is missing, nothing is said here."""
    assert [] == program_problems(Settings())
    assert [] == problems(tmp_path / "missing")


def test_check_and_serve_warn(tmp_path: Path) -> None:
    """``check`` prints a WARN and exits with 0; the log of the server has the same sentence at its start."""
    directory = tmp_path / "hooks"
    directory.mkdir()
    make(directory / "authorize")
    expected = f"{directory}/authorize is never run: add authorize to hooks.enabled_events"
    result = run("check", "--port", "0", HOOKS__EXECUTABLES_DIR=str(directory))
    assert 0 == result.exit_code, result.output
    assert f"WARN    {expected}" in result.output
    server = start_server(tmp_path / "data", settings={"HOOKS__EXECUTABLES_DIR": str(directory)})
    server.stop()
    assert 1 == server.log.read_text().count(expected)
