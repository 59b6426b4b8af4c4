"""Backups of records in PostgreSQL: beside a running server, restored in one transaction, and by schedule."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import Result

from tests.support.client import TUS, create, patch_headers, request
from tests.support.command import run as run_here
from tests.support.faults import KilledAt, environment
from tests.support.grants import becomes
from tests.support.postgres import blank_database, new_database
from tests.support.server import RunningServer, start_server

pytestmark = pytest.mark.anyio

ACCESS = {"ACCOUNTS__API_KEYS": "true", "AUDIT__ENABLED": "true", "QUOTAS__ENABLED": "true"}


def rows(url: str, query: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def change(url: str, statements: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statements.encode())


def tables_of(url: str, schema: str = "public") -> dict[str, int]:
    """The number of rows by table."""
    names = [row[0] for row in rows(url, f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'")]
    return {name: rows(url, f"SELECT count(*) FROM {schema}.{name}")[0][0] for name in names}


def key_labels(url: str, *, revoked: bool) -> list[str]:
    operator = "IS NOT NULL" if revoked else "IS NULL"
    return [row[0] for row in rows(url, f"SELECT label FROM api_keys WHERE revoked_at {operator} ORDER BY label")]


async def run(*arguments: str | Path, **environ: str) -> Result:
    return await asyncio.to_thread(run_here, *map(str, arguments), **environ)


async def uploaded(server: RunningServer, content: bytes, length: int, key: str) -> str:
    """Create an upload, send ``content``, and return its path."""
    headers = {"Authorization": f"Bearer {key}"}
    url = await create(server.url, length, TUS | headers)
    assert (await request("PATCH", url, patch_headers(0) | headers, content)).status == 204
    return url.removeprefix(server.root)


async def added_key(data: Path, label: str, settings: dict[str, str]) -> str:
    made = await run("key", "add", "alice", "--label", label, "--data-dir", data, **settings)
    assert made.exit_code == 0, made.stderr
    return str(made.stdout.split()[0])


@pytest.mark.long
async def test_restore_over_the_database_that_knows_what_was_revoked(tmp_path: Path) -> None:
    """Uploads are as they were at the backup; keys that were revoked since stay revoked; numbers go on."""
    url, data, target = new_database(), tmp_path / "data", tmp_path / "backup"
    settings = {"RECORDS__URL": url, **ACCESS}
    server = await asyncio.to_thread(start_server, data, settings=settings)
    keys = {label: await added_key(data, label, settings) for label in ("kept", "revoked")}
    finished = await uploaded(server, b"complete", 8, keys["kept"])
    unfinished = await uploaded(server, b"0123", 8, keys["kept"])
    done = await run("backup", target, "--bytes", "link", "--data-dir", data, **settings)
    assert (done.exit_code, done.stdout.split()[:2]) == (0, ["records", str(target / "postgresql")]), done.stderr
    last_entry = rows(url, "SELECT max(number) FROM audit_entries")[0][0]
    refused = await run("restore", target, "--replace", "--data-dir", data, **settings)
    assert (refused.exit_code, "stop all of them first" in refused.stderr) == (2, True), refused.stderr
    assert not (data / ".restoring").exists()
    bearer = {"Authorization": f"Bearer {keys['kept']}"}
    assert 204 == (await request("PATCH", server.root + unfinished, patch_headers(4) | bearer, b"XXXX")).status
    later = await uploaded(server, b"later", 5, keys["kept"])
    [[key_id]] = rows(url, "SELECT id FROM api_keys WHERE label = 'revoked'")
    assert 0 == (await run("key", "revoke", key_id, "--data-dir", data, **settings)).exit_code
    new_key = await added_key(data, "made later", settings)
    server.kill()
    before = tables_of(url)
    refused = await run("restore", target, "--data-dir", data, **settings)
    assert (refused.exit_code, "--replace" in refused.stderr) == (2, True), refused.stderr
    restored = await run("restore", target, "--replace", "--data-dir", data, **settings)
    assert restored.exit_code == 0, restored.stderr
    assert "1 API key: the database that was replaced says so" in restored.stdout
    assert "missing" not in restored.stdout
    [[schema]] = rows(url, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'replaced%'")
    assert f"the schema {schema} of the database" in restored.stdout
    assert tables_of(url, schema) | {"locks": 0} == before | {"locks": 0}
    assert (key_labels(url, revoked=False), key_labels(url, revoked=True)) == (["kept"], ["revoked"])
    server = await asyncio.to_thread(start_server, data, settings=settings)
    try:
        assert b"complete" == (await request("GET", server.root + finished, bearer)).body
        assert 4 == (await request("HEAD", server.root + unfinished, TUS | bearer)).offset
        assert 204 == (await request("PATCH", server.root + unfinished, patch_headers(4) | bearer, b"4567")).status
        assert b"01234567" == (await request("GET", server.root + unfinished, bearer)).body
        assert 404 == (await request("HEAD", server.root + later, TUS | bearer)).status
        for key in (keys["revoked"], new_key):
            assert 401 == (await request("HEAD", server.root + finished, {"Authorization": f"Bearer {key}"})).status
        # Numbers go on: no new entry has the number of one in the backup.
        [[first]] = rows(url, f"SELECT min(number) FROM audit_entries WHERE number > {last_entry}")
        assert first == last_entry + 1
    finally:
        server.stop()
    reconciled = await run("quota", "reconcile", "--data-dir", data, **settings)
    assert reconciled.exit_code == 0, reconciled.stdout


@pytest.mark.long
async def test_restore_into_an_empty_database_revokes_all_credentials(tmp_path: Path) -> None:
    """On a new database it is not known what was revoked since; ``--keep-credentials`` accepts that."""
    settings = {"RECORDS__URL": new_database(), **ACCESS}
    data, target = tmp_path / "data", tmp_path / "backup"
    data.mkdir()
    await added_key(data, "key", settings)
    assert 0 == (await run("backup", target, "--data-dir", data, **settings)).exit_code
    blank = {**settings, "RECORDS__URL": blank_database()}
    restored = await run("restore", target, "--data-dir", tmp_path / "new", **blank)
    assert "1 API key: " in restored.stdout, restored
    assert key_labels(blank["RECORDS__URL"], revoked=True) == ["key"]
    assert tables_of(blank["RECORDS__URL"]) == tables_of(settings["RECORDS__URL"])
    # A database that a server has prepared, and that nothing was recorded in, knows nothing either.
    prepared = {**settings, "RECORDS__URL": new_database()}
    arguments = ("restore", target, "--replace", "--keep-credentials", "--data-dir", tmp_path / "other")
    restored = await run(*arguments, **prepared)
    assert (restored.exit_code, "API key" in restored.stdout) == (0, False), restored
    assert key_labels(prepared["RECORDS__URL"], revoked=False) == ["key"]


async def test_a_restore_that_fails_changes_nothing(tmp_path: Path) -> None:
    """A damaged backup, one of another kind, and a row that does not fit: the tables stay, and a server starts."""
    url, data, target = new_database(), tmp_path / "data", tmp_path / "backup"
    settings = {"RECORDS__URL": url, **ACCESS}
    data.mkdir()
    for label in ("kept", "revoked"):
        await added_key(data, label, settings)
    assert 0 == (await run("backup", target, "--data-dir", data, **settings)).exit_code
    [[key_id]] = rows(url, "SELECT id FROM api_keys WHERE label = 'revoked'")
    assert 0 == (await run("key", "revoke", key_id, "--data-dir", data, **settings)).exit_code
    refused = await run("restore", target, "--data-dir", tmp_path / "sqlite")
    assert (refused.exit_code, "the backup is of records in PostgreSQL" in refused.stderr) == (2, True)
    assert 0 == (await run("migrate", "--data-dir", tmp_path / "sqlite")).exit_code
    assert 0 == (await run("backup", tmp_path / "file", "--data-dir", tmp_path / "sqlite")).exit_code
    refused = await run("restore", tmp_path / "file", "--replace", "--data-dir", data, **settings)
    assert (refused.exit_code, "the backup is of a SQLite database" in refused.stderr) == (2, True)
    before, keys = tables_of(url), target / "postgresql" / "api_keys.copy"
    content = keys.read_bytes()
    keys.write_bytes(content + content)  # a key twice
    refused = await run("restore", target, "--replace", "--data-dir", data, **settings)
    assert (refused.exit_code, "has changed since" in refused.stderr) == (2, True)
    _accept_changes(target)
    refused = await run("restore", target, "--replace", "--data-dir", data, **settings)
    assert (refused.exit_code, "duplicate key" in refused.stderr) == (2, True), refused.stderr
    assert (tables_of(url), rows(url, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'repl%'")) == (before, [])
    assert not (data / ".restoring").exists()
    # One that was interrupted can be repeated as it was, and until then no server starts.
    keys.write_bytes(content)
    _accept_changes(target)
    (data / ".restoring").mkdir()
    restored = await run("restore", target, "--data-dir", data, **settings)
    assert (restored.exit_code, "1 API key: the database that was replaced" in restored.stdout) == (0, True), (
        restored.output
    )
    assert (key_labels(url, revoked=False), key_labels(url, revoked=True)) == (["kept"], ["revoked"])
    assert not (data / ".restoring").exists()


def _accept_changes(target: Path) -> None:
    """Let the manifest have the digests that the files have now."""
    manifest = json.loads((target / "manifest.json").read_text())
    for name, table in manifest["postgresql"]["tables"].items():
        table["sha256"] = hashlib.sha256((target / "postgresql" / f"{name}.copy").read_bytes()).hexdigest()
    (target / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.long
async def test_backup_by_schedule(tmp_path: Path) -> None:
    """The worker of a server with PostgreSQL makes it; of several, the last ones are kept."""
    backups = tmp_path / "backups"
    settings = {
        "RECORDS__URL": new_database(),
        "API__ENABLED": "true",
        "SCHEDULES__BACKUP_DIRECTORY": str(backups),
        "SCHEDULES__BACKUP_BYTES": "copy",
    }
    server = await asyncio.to_thread(start_server, tmp_path / "data", settings=settings)
    try:
        url = await create(server.url, 5)
        assert 204 == (await request("PATCH", url, patch_headers(0), b"12345")).status
        await becomes(lambda: _is_started(server))
        await becomes(lambda: _is_done(server), timeout_seconds=60)
        state = await _backup_state(server)
        [backup] = backups.iterdir()
        assert state["detail"] == str(backup)
        assert {path.name for path in backup.iterdir()} == {"manifest.json", "postgresql", "uploads"}
    finally:
        server.stop()


async def _backup_state(server: RunningServer) -> dict[str, Any]:
    answer = await request("GET", f"{server.root}/api/schedules", {})
    found: Sequence[dict[str, Any]] = json.loads(answer.body)["schedules"]
    return next(each for each in found if each["name"] == "backup")


async def _is_started(server: RunningServer) -> bool:
    """Make the backup due, once it is planned."""
    return (await request("POST", f"{server.root}/api/schedules/backup/run", {})).status == 200


async def _is_done(server: RunningServer) -> bool:
    state = await _backup_state(server)
    assert state["outcome"] in ("never", "running", "done"), state
    return bool(state["outcome"] == "done")


@pytest.mark.long
async def test_a_user_that_may_not_create_schemas(tmp_path: Path) -> None:
    """A restore over tables says what it needs, and one into an empty database needs nothing more."""
    owner_url = blank_database()
    user = f"limited_{owner_url.partition('@/')[2].partition('?')[0]}"
    change(owner_url, f"CREATE ROLE {user} LOGIN; GRANT CREATE, USAGE ON SCHEMA public TO {user}")
    settings = {"RECORDS__URL": owner_url.replace("tusd@", f"{user}@"), **ACCESS}
    data, target = tmp_path / "data", tmp_path / "backup"
    assert 0 == (await run("migrate", "--data-dir", data, **settings)).exit_code
    await added_key(data, "key", settings)
    assert 0 == (await run("backup", target, "--data-dir", data, **settings)).exit_code
    refused = await run("restore", target, "--replace", "--data-dir", data, **settings)
    assert (refused.exit_code, "GRANT it CREATE ON DATABASE" in refused.stderr) == (2, True), refused.output
    assert key_labels(owner_url, revoked=False) == ["key"]
    empty = blank_database()
    change(empty, f"GRANT CREATE, USAGE ON SCHEMA public TO {user}")
    settings["RECORDS__URL"] = empty.replace("tusd@", f"{user}@")
    assert 0 == (await run("restore", target, "--data-dir", tmp_path / "new", **settings)).exit_code
    assert key_labels(empty, revoked=True) == ["key"]


@pytest.mark.long
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("function", ["tusd_py.backup:_stage_uploads", "tusd_py.backup:_put_uploads_in_place"])
async def test_a_restore_that_is_killed_can_be_repeated(tmp_path: Path, function: str, when: str) -> None:
    """Until then no server starts; then records and bytes are those of the backup, and nothing is lost."""
    url, data, target = new_database(), tmp_path / "data", tmp_path / "backup"
    settings = {"RECORDS__URL": url, **ACCESS}
    server = await asyncio.to_thread(start_server, data, settings=settings)
    key = await added_key(data, "key", settings)
    finished = await uploaded(server, b"complete", 8, key)
    assert 0 == (await run("backup", target, "--bytes", "copy", "--data-dir", data, **settings)).exit_code
    later = await uploaded(server, b"later", 5, key)
    server.kill()
    variables = environment(tmp_path, killed_at=KilledAt(function, when))
    variables |= {f"TUSD_PY_{name}": value for name, value in settings.items()}
    arguments = [sys.executable, "-m", "tusd_py", "restore", str(target), "--replace", "--data-dir", str(data)]
    killed = await asyncio.to_thread(subprocess.run, arguments, env=os.environ | variables, check=False)
    assert killed.returncode == -9
    if (data / ".restoring").exists():
        serve = [sys.executable, "-m", "tusd_py", "serve", "--port", "0", "--data-dir", str(data)]
        served = await asyncio.to_thread(
            subprocess.run, serve, env=os.environ | variables, check=False, capture_output=True, timeout=60
        )
        assert (served.returncode, b"run tusd-py restore again" in served.stderr) == (2, True), served
        restored = await run("restore", target, "--data-dir", data, **settings)
        assert restored.exit_code == 0, restored.output
        assert "missing" not in restored.stdout
    server = await asyncio.to_thread(start_server, data, settings=settings)
    try:
        bearer = {"Authorization": f"Bearer {key}"}
        assert b"complete" == (await request("GET", server.root + finished, bearer)).body
        assert 404 == (await request("HEAD", server.root + later, TUS | bearer)).status
    finally:
        server.stop()
    [(schema,), *_] = rows(url, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'replaced%' ORDER BY nspname")
    assert tables_of(url, schema)["uploads"] == 2
