"""The command line within this process: what it says and the exit codes. Serving itself is tested with processes."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.support.redis import running_redis
from tusd_py.cli import app
from tusd_py.validation import libmagic


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without configuration, and no variables of ours."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith("TUSD_PY_")]:
        monkeypatch.delenv(variable)


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={f"TUSD_PY_{name}": value for name, value in environ.items()})


def test_the_version_is_told() -> None:
    """``--version`` prints name and version."""
    result = run("--version")
    assert 0 == result.exit_code
    assert result.output.startswith("tusd-py 0.")


@pytest.mark.parametrize("command", ["serve", "check", "migrate", "sweep"])
def test_an_unknown_setting_stops_every_command(command: str) -> None:
    """A misspelled variable is one sentence on standard error and exit code 2, whatever the command."""
    result = run(command, SERVER__PROT="1")
    assert 2 == result.exit_code
    expected = "tusd-py: server.prot (TUSD_PY_SERVER__PROT) is not a setting; did you mean server.port?\n"
    assert expected == result.stderr


def test_a_bad_flag_is_told_like_any_setting() -> None:
    """A flag's value is checked as the setting it stands for."""
    result = run("serve", "--port", "seventy")
    assert 2 == result.exit_code
    assert "tusd-py: server.port is 'seventy' (--port); it must be a whole number from 0 to 65535\n" == result.stderr


def test_a_missing_configuration_file_is_told() -> None:
    """A configuration file that was named must be there."""
    result = run("check", "--config", "none.toml")
    assert 2 == result.exit_code
    assert "tusd-py: the configuration file none.toml cannot be read: No such file or directory\n" == result.stderr


def test_check_tells_what_is_set_and_changes_nothing(tmp_path: Path) -> None:
    """``check`` lists what differs from the defaults with its origin, and leaves no trace."""
    config = tmp_path / "mine.toml"
    config.write_text("[uploads]\nlength_max = '1GiB'\n[log]\nlevel = 'info'\n")
    result = run("check", "--config", "mine.toml", "--port", "0", CORS__ENABLED="false")
    assert 0 == result.exit_code, result.output
    assert "configuration  mine.toml" in result.output
    assert "uploads.length_max = 1073741824  (mine.toml)" in result.output
    assert "cors.enabled = false  (TUSD_PY_CORS__ENABLED)" in result.output
    assert "log.level" not in result.output, "it has its default"
    assert [config] == list(tmp_path.iterdir())


def test_check_finds_a_port_that_is_taken() -> None:
    """A busy port is told and makes the exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("check", "--port", str(port))
    assert 2 == result.exit_code
    assert f"NOT OK  cannot listen on 127.0.0.1 port {port}: address already in use" in result.output


def test_check_finds_a_directory_that_cannot_be_written_to(tmp_path: Path) -> None:
    """A data directory beneath a file can never be made."""
    (tmp_path / "file").write_text("")
    result = run("check", "--port", "0", "--data-dir", "file/data")
    assert 2 == result.exit_code
    assert "NOT OK  storage.data_dir file/data cannot be written to" in result.output


def test_check_finds_a_certificate_that_is_none(tmp_path: Path) -> None:
    """A certificate file that holds none is told before anybody connects."""
    (tmp_path / "cert.pem").write_text("nonsense")
    result = run("check", "--port", "0", SERVER__TLS_CERTIFICATE="cert.pem", SERVER__TLS_KEY="cert.pem")
    assert 2 == result.exit_code
    assert "NOT OK  server.tls_certificate cert.pem and server.tls_key cert.pem make no certificate" in result.output


def test_check_tells_when_nobody_guards_an_address() -> None:
    """On an address that others reach, unless somebody is asked for leave."""
    open_to_all = "everybody who reaches this address may upload"
    assert open_to_all in run("check", "--host", "0.0.0.0", "--port", "0").output
    guards = {"HOOKS__HTTP_URLS": "http://h/x", "HOOKS__ENABLED_EVENTS": "authorize"}
    assert open_to_all not in run("check", "--host", "0.0.0.0", "--port", "0", **guards).output


def test_check_looks_at_the_hooks(tmp_path: Path) -> None:
    """A directory of programs that is missing is told, and so is what would ask nobody; no password is shown."""
    hooks = {"HOOKS__EXECUTABLES_DIR": "hooks", "HOOKS__HTTP_URLS": "http://me:secret@h/x", "HOOKS__ENABLED_EVENTS": ""}
    result = run("check", "--port", "0", HOOKS__HTTP_SKIP_VERIFY="true", **hooks)
    assert 2 == result.exit_code
    assert "NOT OK  the directory of hooks hooks is missing" in result.output
    assert "hooks.http_urls = http://...@h/x  (TUSD_PY_HOOKS__HTTP_URLS)" in result.output
    assert "secret" not in result.output
    assert "hooks.enabled_events is empty: no hook is asked" in result.output
    assert "hooks.http_skip_verify is true" in result.output
    (tmp_path / "hooks").mkdir()
    assert "ok      the directory of hooks hooks is there" in run("check", "--port", "0", **hooks).output


def test_check_tells_whether_a_worker_is_needed_and_why() -> None:
    """Not for nothing; else it is started with the server, or the operator is told to start it."""
    assert "ok      no worker is needed" in run("check", "--port", "0").output
    endpoints = [
        {"name": "library", "url": "http://me:secret@h/x", "secrets": ["whsec_" + "A" * 32]},
        {"name": "shelf", "url": "http://h/y"},
    ]
    asked = {"WEBHOOKS__ENDPOINTS": json.dumps(endpoints), "PUBLISHING__DIRECTORY": "out"}
    embedded = run("check", "--port", "0", **asked)
    assert 0 == embedded.exit_code, embedded.output
    why = "for publishing, telling library, telling shelf"
    assert f"ok      a worker will be started with the server, {why}" in embedded.output
    assert "webhook endpoints: 2, of which 1 without a secret" in embedded.output
    assert "secret@" not in embedded.output
    separate = run("check", "--port", "0", WORKER__MODE="separate", **asked)
    assert f'worker.mode is "separate": tusd-py worker must be started beside the server, {why}' in separate.output


def test_check_asks_redis() -> None:
    """Where the broker is a Redis it must answer; one that asks for a password answers too."""
    with running_redis() as url:
        result = run("check", "--port", "0", WORKER__BROKER=url)
    assert 0 == result.exit_code, result.output
    assert f"ok      Redis at {url.removeprefix('unix://')} answers" in result.output


def test_check_finds_a_redis_that_is_gone() -> None:
    """It is told without the password, and makes the exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    result = run("check", "--port", "0", WORKER__BROKER=f"redis://me:secret@127.0.0.1:{port}/0?password=secret")
    assert 2 == result.exit_code
    assert f"NOT OK  Redis at 127.0.0.1:{port} does not answer" in result.output
    assert "secret" not in result.output


def test_check_shows_no_password_that_has_an_at_sign() -> None:
    """Whatever stands before the last @ of an authority is left out."""
    result = run("check", "--port", "0", WORKER__BROKER="redis://:sec@ret@127.0.0.1:1/0")
    assert "worker.broker = redis://...@127.0.0.1:1/0" in result.output
    assert "ret@" not in result.output


def test_check_waits_a_second_for_redis() -> None:
    """Who takes the connection and says nothing is given up on."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        result = run("check", "--port", "0", WORKER__BROKER=f"redis://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - began < 10
    assert 2 == result.exit_code
    assert "does not answer" in result.output


def test_check_looks_for_libmagic_where_a_rule_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only there; without it no upload could be judged, which makes the exit code 2."""
    by_size = {"VALIDATION__ENABLED": "true", "VALIDATION__RULES": '[{"size_max": 5}]'}
    by_type = {"VALIDATION__ENABLED": "true", "VALIDATION__RULES": '[{"allowed_types": ["image/*"]}]'}
    assert "libmagic" not in run("check", "--port", "0", **by_size).output
    assert "ok      libmagic is there" in run("check", "--port", "0", **by_type).output
    find = libmagic.load

    def find_nothing() -> libmagic.Libmagic:
        # As on a machine that has neither.
        monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
        return find(["none.so"])

    monkeypatch.setattr(libmagic, "load", find_nothing)
    monkeypatch.setattr(libmagic, "_loaded", None)
    monkeypatch.setattr(libmagic, "_thread_local", type(libmagic._thread_local)())
    missing = run("check", "--port", "0", **by_type)
    assert 2 == missing.exit_code
    assert "libmagic is missing; install it" in missing.output


def test_check_looks_at_where_uploads_are_published(tmp_path: Path) -> None:
    """A directory beneath a file can never be made; one that is missing will be."""
    (tmp_path / "file").write_text("")
    result = run("check", "--port", "0", PUBLISHING__DIRECTORY="file/out")
    assert 2 == result.exit_code
    assert "NOT OK  publishing.directory file/out cannot be written to" in result.output
    made = run("check", "--port", "0", PUBLISHING__DIRECTORY="out")
    assert "ok      the directory of published uploads out will be made" in made.output
    assert not (tmp_path / "out").exists()


def test_migrate_makes_a_database_and_says_what_it_did(tmp_path: Path) -> None:
    """``migrate`` applies what is missing; the second time nothing is."""
    first, second = run("migrate", "--data-dir", "d"), run("migrate", "--data-dir", "d")
    assert "applied  0001" in first.output
    assert "d/tusd.sqlite3 is up to date\n" == second.output
    assert (0, 0) == (first.exit_code, second.exit_code)
    with closing(sqlite3.connect(tmp_path / "d" / "tusd.sqlite3")) as database:
        assert ("uploads",) in database.execute("SELECT name FROM sqlite_master").fetchall()


@pytest.mark.parametrize("command", ["migrate", "sweep", "serve", "check"])
def test_a_newer_database_is_refused(tmp_path: Path, command: str) -> None:
    """A database that a newer version wrote is told in a sentence, by every command."""
    assert 0 == run("migrate", "--data-dir", "d").exit_code
    with closing(sqlite3.connect(tmp_path / "d" / "tusd.sqlite3")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    result = run(command, "--data-dir", "d", SERVER__PORT="0")
    assert 2 == result.exit_code
    assert "a newer version of tusd-py has written it" in result.output
    assert "Traceback" not in result.output


def test_sweep_says_what_it_did() -> None:
    """``sweep`` makes one pass and counts; on an empty store all counts are 0."""
    result = run("sweep", "--data-dir", "d")
    assert 0 == result.exit_code, result.output
    assert "expired 0, forgotten 0, left alone because in use 0\n" == result.stdout


@pytest.mark.parametrize(("command", "setting"), [("sweep", "STORAGE__KIND"), ("migrate", "RECORDS__URL")])
def test_what_is_in_memory_is_out_of_reach(command: str, setting: str) -> None:
    """Another process's memory can be neither swept nor migrated, which is said."""
    result = run(command, **{setting: "memory"})
    assert 2 == result.exit_code
    assert "memory" in result.stderr
