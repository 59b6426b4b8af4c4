"""``tusd-py check``: what it prints, and that it exits with 2 when the server or its worker would fail."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.command import run
from tests.support.redis import running_redis
from tests.support.server import start_server
from tests.support.tokens import SECRET
from tusd_py.commands.toml_text import as_text
from tusd_py.settings import load
from tusd_py.validation import libmagic

GIB = 1024**3


def test_changed_settings_are_listed_and_nothing_is_created(tmp_path: Path) -> None:
    """``check`` prints settings that differ from their defaults with their origin, and writes no file."""
    config = tmp_path / "mine.toml"
    config.write_text("[uploads]\nlength_max = '1GiB'\n[log]\nlevel = 'info'\n")
    result = run("check", "--config", "mine.toml", "--port", "0", CORS__ENABLED="false")
    assert 0 == result.exit_code, result.output
    assert "configuration  mine.toml" in result.output
    assert "uploads.length_max = 1073741824  (mine.toml)" in result.output
    assert "cors.enabled = false  (TUSD_PY_CORS__ENABLED)" in result.output
    assert "log.level" not in result.output, "it has its default"
    assert [config] == list(tmp_path.iterdir())


def test_port_in_use_exits_with_2() -> None:
    """A port that another process listens on is reported."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("check", "--port", str(port))
    assert 2 == result.exit_code
    assert f"NOT OK  cannot listen on 127.0.0.1 port {port}: address already in use" in result.output


def test_unwritable_data_dir_exits_with_2(tmp_path: Path) -> None:
    """A data directory below a file cannot be created."""
    (tmp_path / "file").write_text("")
    result = run("check", "--port", "0", "--data-dir", "file/data")
    assert 2 == result.exit_code
    assert "NOT OK  storage.data_dir file/data cannot be written to" in result.output


@pytest.mark.parametrize("name", ["a%20b", "a?b", "a#b"])
def test_path_of_the_database_is_shown_as_it_is(name: str, tmp_path: Path) -> None:
    """The database is where check says, also with characters that mean something in URLs."""
    assert 0 == run("migrate", "--data-dir", name).exit_code
    result = run("check", "--port", "0", "--data-dir", name)
    assert f"ok      the database {name}/tusd.sqlite3 is up to date" in result.output
    assert (tmp_path / name / "tusd.sqlite3").exists()


def test_data_dir_that_is_not_utf8(tmp_path: Path) -> None:
    """The path is printed with its bytes escaped, and the line says what hooks and webhooks make of it."""
    result = run("check", "--port", "0", "--data-dir", os.fsdecode(b"caf\xe9"))
    assert 0 == result.exit_code, result.output
    assert "caf\\udce9 will be created" in result.output
    assert "is not UTF-8: in the JSON of hooks" in result.output


@pytest.mark.parametrize(
    ("free", "environ", "exit_code", "expected"),
    [
        (3 * 1024**2, {}, 2, "NOT OK  0.0 GiB are free in data: every upload would be answered 507"),
        (GIB // 2, {}, 0, "WARN    0.5 GiB are free in data, which is little"),
        (2 * GIB, {"UPLOADS__LENGTH_MAX": "3GiB"}, 0, "less than one upload of uploads.length_max"),
        (2 * GIB, {"UPLOADS__LENGTH_MAX": "1GiB"}, 0, "ok      2.0 GiB are free in data\n"),
        (2 * GIB, {}, 0, "ok      2.0 GiB are free in data\n"),
    ],
)
def test_free_space(
    free: int, environ: dict[str, str], exit_code: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk exits with 2; less room than 1 GiB, or than one upload of the allowed length, is a warning."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))
    result = run("check", "--port", "0", **environ)
    assert exit_code == result.exit_code, result.output
    assert expected in result.output


def test_invalid_certificate_exits_with_2(tmp_path: Path) -> None:
    """A certificate file without a certificate is reported before any client connects."""
    (tmp_path / "cert.pem").write_text("nonsense")
    result = run("check", "--port", "0", SERVER__TLS_CERTIFICATE="cert.pem", SERVER__TLS_KEY="cert.pem")
    assert 2 == result.exit_code
    expected = "NOT OK  server.tls_certificate cert.pem and server.tls_key cert.pem are not a certificate and its key"
    assert expected in result.output


def test_public_address_without_access_control_is_a_warning() -> None:
    """On an address that other machines reach, ``check`` warns unless clients are authenticated or a hook decides."""
    warning = "every client that reaches 0.0.0.0 can upload"
    assert warning in run("check", "--host", "0.0.0.0", "--port", "0").output
    hooks = {"HOOKS__HTTP_URLS": "http://h/x", "HOOKS__ENABLED_EVENTS": "authorize"}
    for settings in (hooks, {"JWT__SECRET": SECRET}, {"ACCESS__ANONYMOUS": "none"}):
        assert warning not in run("check", "--host", "0.0.0.0", "--port", "0", **settings).output
    assert "every request is answered 401" in run("check", "--port", "0", ACCESS__ANONYMOUS="none").output


@pytest.mark.parametrize("content", [None, "no key"])
def test_unusable_public_key_exits_with_2(tmp_path: Path, content: str | None) -> None:
    """A public key that is missing or none is named; the secret of tokens is never shown."""
    if content is not None:
        (tmp_path / "key.pem").write_text(content)
    result = run("check", "--port", "0", JWT__PUBLIC_KEY=str(tmp_path / "key.pem"))
    assert result.exit_code == 2
    assert "NOT OK  jwt.public_key" in result.output
    assert SECRET not in run("check", "--port", "0", JWT__SECRET=SECRET).output
    for wrong in ({"JWT__SECRET": "short-secret"}, {"JWT__SECRET": SECRET, "JWT__ALGORITHMS": "RS256"}):
        refused = run("check", "--port", "0", **wrong)
        assert refused.exit_code == 2
        assert wrong["JWT__SECRET"] not in refused.output


def test_missing_logo_exits_with_2(tmp_path: Path) -> None:
    """A logo that cannot be read is told; a readable one is ok."""
    result = run("check", "--port", "0", PAGE__LOGO="none.svg")
    assert 2 == result.exit_code
    assert "NOT OK  page.logo: No such file or directory: none.svg" in result.output
    (tmp_path / "logo.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    result = run("check", "--port", "0", PAGE__LOGO="logo.svg")
    assert 0 == result.exit_code, result.output
    assert "the logo of the page is logo.svg" in result.output


def test_missing_directory_of_programs_exits_with_2(tmp_path: Path) -> None:
    """A missing directory of programs exits with 2; hooks that are never called are a warning; no password is shown."""
    hooks = {"HOOKS__EXECUTABLES_DIR": "hooks", "HOOKS__HTTP_URLS": "http://me:secret@h/x", "HOOKS__ENABLED_EVENTS": ""}
    result = run("check", "--port", "0", HOOKS__HTTP_SKIP_VERIFY="true", **hooks)
    assert 2 == result.exit_code
    assert "NOT OK  the hooks directory hooks does not exist" in result.output
    assert 'hooks.http_urls = ["http://...@h/x"]  (TUSD_PY_HOOKS__HTTP_URLS)' in result.output
    assert "secret" not in result.output
    assert "hooks.enabled_events is empty: no hook is invoked" in result.output
    assert "hooks.http_skip_verify is true" in result.output
    (tmp_path / "hooks").mkdir()
    assert "ok      the hooks directory hooks exists" in run("check", "--port", "0", **hooks).output


def test_says_whether_a_worker_is_needed_and_who_starts_it() -> None:
    """``check`` says whether a worker is needed, for what, and who starts it."""
    assert "ok      no worker is needed" in run("check", "--port", "0").output
    endpoints = [
        {"name": "library", "url": "http://me:secret@h/x", "secrets": ["whsec_" + "A" * 32]},
        {"name": "shelf", "url": "http://h/y"},
    ]
    environ = {"WEBHOOKS__ENDPOINTS": json.dumps(endpoints), "PUBLISHING__DIRECTORY": "out"}
    embedded = run("check", "--port", "0", **environ)
    assert 0 == embedded.exit_code, embedded.output
    tasks = "for publishing, webhook library, webhook shelf"
    assert f"ok      the server will start a worker {tasks}" in embedded.output
    assert "webhook endpoints: 2, of which 1 without a secret" in embedded.output
    assert "secret@" not in embedded.output
    separate = run("check", "--port", "0", WORKER__MODE="separate", **environ)
    assert f'worker.mode is "separate": run tusd-py worker beside the server, {tasks}' in separate.output


def test_redis_answers() -> None:
    """A Redis broker that answers is reported with its address."""
    with running_redis() as url:
        result = run("check", "--port", "0", WORKER__BROKER=url)
    assert 0 == result.exit_code, result.output
    assert f"ok      Redis at {url.removeprefix('unix://')} answers and can be written to" in result.output


def test_redis_that_refuses_writes_exits_with_2() -> None:
    """It answers a ping, but takes no job."""
    from redis import Redis

    with running_redis() as url, Redis.from_url(url) as client:
        client.config_set("min-replicas-to-write", 1)
        result = run("check", "--port", "0", WORKER__BROKER=url)
    assert 2 == result.exit_code
    assert "cannot be used (it refuses to write: NOREPLICAS" in result.output


def test_redis_that_refuses_the_login_exits_with_2() -> None:
    """The worker needs the password too, so a Redis that refuses it cannot be used."""
    from redis import Redis

    with running_redis() as url:
        with Redis.from_url(url) as client:
            client.config_set("requirepass", "correct")
        refused = run("check", "--port", "0", WORKER__BROKER=url)
        wrong = run("check", "--port", "0", WORKER__BROKER=url.replace("unix://", "unix://:wr0ng@"))
        accepted = run("check", "--port", "0", WORKER__BROKER=url.replace("unix://", "unix://:correct@"))
    assert (2, 2) == (refused.exit_code, wrong.exit_code)
    assert "it refuses the login" in wrong.output and "wr0ng" not in wrong.output
    assert "cannot be used (it refuses the login: check the password in the URL)" in refused.output
    assert 0 == accepted.exit_code, accepted.output
    assert "correct" not in accepted.output


def test_unreachable_redis_exits_with_2() -> None:
    """The password of a Redis that does not listen is not shown."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    result = run("check", "--port", "0", WORKER__BROKER=f"redis://me:secret@127.0.0.1:{port}/0?password=secret")
    assert 2 == result.exit_code
    assert f"NOT OK  Redis at 127.0.0.1:{port} cannot be used" in result.output
    assert "secret" not in result.output


def test_password_with_an_at_sign_is_not_shown() -> None:
    """Everything before the last @ of an authority is removed."""
    result = run("check", "--port", "0", WORKER__BROKER="redis://:sec@ret@127.0.0.1:1/0")
    assert 'worker.broker = "redis://...@127.0.0.1:1/0"' in result.output
    assert "ret@" not in result.output


def test_silent_redis_times_out() -> None:
    """A server that accepts the connection and never answers fails the check after about a second."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started_at = time.monotonic()
        result = run("check", "--port", "0", WORKER__BROKER=f"redis://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - started_at < 10
    assert 2 == result.exit_code
    assert "cannot be used" in result.output


def test_libmagic_is_checked_if_a_rule_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without libmagic no type can be checked: exit code 2, but only if a rule checks types."""
    by_size = {"VALIDATION__ENABLED": "true", "VALIDATION__RULES": '[{"size_max": 5}]'}
    by_type = {"VALIDATION__ENABLED": "true", "VALIDATION__RULES": '[{"allowed_types": ["image/*"]}]'}
    assert "libmagic" not in run("check", "--port", "0", **by_size).output
    assert "ok      libmagic is available" in run("check", "--port", "0", **by_type).output
    find = libmagic.load

    def find_nothing() -> libmagic.Libmagic:
        # As on a machine with neither the system's library nor the wheel.
        monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
        return find(["none.so"])

    monkeypatch.setattr(libmagic, "load", find_nothing)
    monkeypatch.setattr(libmagic, "_loaded", None)
    monkeypatch.setattr(libmagic, "_thread_local", type(libmagic._thread_local)())
    missing = run("check", "--port", "0", **by_type)
    assert 2 == missing.exit_code
    assert "libmagic is missing; install it" in missing.output


def test_publishing_directory(tmp_path: Path) -> None:
    """A directory below a file exits with 2; a missing one will be created, but not by ``check``."""
    (tmp_path / "file").write_text("")
    result = run("check", "--port", "0", PUBLISHING__DIRECTORY="file/out")
    assert 2 == result.exit_code
    assert "NOT OK  publishing.directory file/out cannot be written to" in result.output
    created = run("check", "--port", "0", PUBLISHING__DIRECTORY="out")
    assert "ok      the directory of published uploads out will be created" in created.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("SERVER__HOST", "0.0.0.0", '"0.0.0.0"'),
        ("SERVER__PORT", "9000", "9000"),
        ("UPLOADS__TERMINATION", "false", "false"),
        ("CORS__ALLOW_ORIGINS", "https://a,https://b", '["https://a", "https://b"]'),
        ("CORS__ALLOW_ORIGINS", "", "[]"),
        (
            "VALIDATION__RULES",
            '[{"name": "texts", "types": ["text/*"], "metadata": {"project": "a"}, "size_max": "1MiB", "csv": true}]',
            '[{ name = "texts", types = ["text/*"], metadata = { project = "a" }, size_max = 1048576, csv = true }]',
        ),
    ],
)
def test_values_are_shown_as_toml(variable: str, value: str, text: str) -> None:
    """Also those of tables in lists, of which only the keys that were set are shown."""
    section, _, key = variable.lower().partition("__")
    settings = load(None, {f"TUSD_PY_{variable}": value})
    assert text == as_text(settings, f"{section}.{key}")


def test_worker_for_scheduled_backups() -> None:
    """A schedule of backups alone needs a worker; ``check`` names it."""
    result = run("check", "--port", "0", SCHEDULES__BACKUP_DIRECTORY="copies")
    assert "start a worker for the schedule of backups\n" in result.output, result.output


def test_worker_for_programs_of_hooks(tmp_path: Path) -> None:
    """Programs and URLs of tusd's hooks are no webhooks."""
    (tmp_path / "hooks").mkdir()
    result = run("check", "--port", "0", HOOKS__EXECUTABLES_DIR=str(tmp_path / "hooks"))
    assert "start a worker for the post- hooks of hooks.executables_dir\n" in result.output
    result = run("check", "--port", "0", HOOKS__HTTP_URLS="http://h.example/a")
    assert "start a worker for the post- hooks of http://h.example/a\n" in result.output


def test_endpoint_is_shown_without_its_secrets() -> None:
    """Neither signing keys nor passwords are shown."""
    endpoint = {"name": "a", "url": "http://u:hush@h/?token=hush", "secrets": ["whsec_" + "A" * 32]}
    settings = load(None, {"TUSD_PY_WEBHOOKS__ENDPOINTS": json.dumps([endpoint])})
    assert '[{ name = "a", url = "http://...@h/", secrets = ["..."] }]' == as_text(settings, "webhooks.endpoints")


@pytest.mark.parametrize(
    ("flags", "settings", "sentence"),
    [
        (["--host", "0.0.0.0"], {}, "plain HTTP on an address that other machines reach"),
        (["--host", "0.0.0.0"], {}, "every client that reaches 0.0.0.0 can upload"),
        ([], {"STORAGE__KIND": "memory", "RECORDS__URL": "memory"}, "uploads are stored in memory and lost"),
        ([], {}, "uploads.length_max is 0: one upload can fill the disk"),
        ([], {"JWT__SECRET": "", "JWT__ISSUER": "https://idp"}, "[jwt] has settings but no key"),
        (
            [],
            {"SERVER__INTERIM_RESPONSES": "always", "SERVER__TRUSTED_PROXIES": "127.0.0.1"},
            'server.interim_responses is "always" behind a proxy',
        ),
    ],
)
def test_advice_is_a_warning(flags: list[str], settings: dict[str, str], sentence: str) -> None:
    """What an operator may want to change is WARN, and the exit code stays 0."""
    result = run("check", "--port", "0", *flags, **settings)
    assert 0 == result.exit_code, result.output
    assert f"WARN    {sentence}" in result.output


def test_webhook_that_is_never_delivered_is_a_warning(tmp_path: Path) -> None:
    """A literal private address without ``allow_private`` is refused at each delivery; with it there is no warning."""
    endpoint = '[[webhooks.endpoints]]\nname = "a"\nurl = "http://[fd00::1]:9/x"\n'
    (tmp_path / "config.toml").write_text(endpoint)
    assert "WARN    webhook a is never delivered: fd00::1 is not a public address" in run("check", "--port", "0").output
    (tmp_path / "config.toml").write_text(endpoint + "allow_private = true\n")
    assert "is never delivered" not in run("check", "--port", "0").output


def test_other_readers_are_a_warning(tmp_path: Path) -> None:
    """A database that every user can read is WARN."""
    assert 0 == run("migrate", "--data-dir", "d").exit_code
    (tmp_path / "d" / "tusd.sqlite3").chmod(0o644)
    assert "WARN    other users can read d/tusd.sqlite3" in run("check", "--port", "0", "--data-dir", "d").output


def test_damaged_database_exits_with_2(tmp_path: Path) -> None:
    """A page of garbage in the middle of the file, and a file that is no database, are NOT OK."""
    assert 0 == run("migrate", "--data-dir", "d").exit_code
    path = tmp_path / "d" / "tusd.sqlite3"
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 4096)
        file.write(b"\xff" * 4096)
    result = run("check", "--port", "0", "--data-dir", "d")
    assert 2 == result.exit_code
    # Which sentence depends on what the last page holds: a page of the schema cannot even be opened.
    damaged = "NOT OK  the database d/tusd.sqlite3(: the database file)? is damaged"
    assert re.search(damaged, result.output), result.output
    path.write_bytes(os.urandom(8192))
    result = run("check", "--port", "0", "--data-dir", "d")
    assert 2 == result.exit_code
    assert "NOT OK  the database d/tusd.sqlite3: the file is not a SQLite database" in result.output


def test_running_server_is_known(tmp_path: Path) -> None:
    """The port is ok while the server of this database holds it, and NOT OK while another server does."""
    server = start_server(tmp_path / "mine")
    try:
        port = str(server.port)
        own = run("check", "--port", port, "--data-dir", "mine")
        assert 0 == own.exit_code, own.output
        assert f"ok      the server is running and answers at http://127.0.0.1:{port}/healthz" in own.output
        assert 0 == run("migrate", "--data-dir", "other").exit_code
        foreign = run("check", "--port", port, "--data-dir", "other")
        assert 2 == foreign.exit_code
        assert "NOT OK  another server answers" in foreign.output
    finally:
        server.stop()
