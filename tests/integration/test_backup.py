"""``tusd-py backup`` beside a running server, ``kill -9``, and ``tusd-py restore``: what was backed up is back."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.client import create, patch_headers, request
from tests.support.server import RunningServer, start_server


def command(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run ``tusd-py`` as a process of its own; ``RECORDS__URL="x"`` sets ``TUSD_PY_RECORDS__URL``."""
    program = [sys.executable, "-m", "tusd_py", *map(str, arguments)]
    variables = os.environ | {f"TUSD_PY_{name}": value for name, value in environ.items()}
    return subprocess.run(program, capture_output=True, text=True, timeout=60, check=False, env=variables)


async def upload(server: RunningServer, content: bytes, length: int) -> str:
    """Create an upload of ``length`` bytes, send ``content``, and return its path."""
    url = await create(server.url, length)
    assert (await request("PATCH", url, patch_headers(0), content)).status == 204
    return url.removeprefix(server.root)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["link", "copy"])
async def test_restore_after_kill_has_what_was_backed_up(tmp_path: Path, kind: str) -> None:
    """The state at the backup comes back over a killed server's files with their log, and uploads continue in it."""
    data, target = tmp_path / "data", tmp_path / "backup"
    server = await asyncio.to_thread(start_server, data)
    finished = await upload(server, b"complete", 8)
    unfinished = await upload(server, b"0123", 8)
    done = await asyncio.to_thread(command, "backup", target, "--bytes", kind, "--data-dir", data)
    assert 0 == done.returncode, done.stderr
    # What happens later is not in the backup, and must not get into it through shared bytes.
    assert 204 == (await request("PATCH", server.root + unfinished, patch_headers(4), b"XXXX")).status
    later = await upload(server, b"later", 5)
    server.kill()
    assert (data / "tusd.sqlite3-wal").exists(), "a killed server leaves its log behind"
    refused = await asyncio.to_thread(command, "restore", target, "--data-dir", data)
    assert 2 == refused.returncode
    assert "add --replace to move it aside" in refused.stderr
    restored = await asyncio.to_thread(command, "restore", target, "--replace", "--data-dir", data)
    assert 0 == restored.returncode, restored.stderr
    assert "missing" not in restored.stdout
    server = await asyncio.to_thread(start_server, data)
    try:
        assert b"complete" == (await request("GET", server.root + finished)).body
        assert 4 == (await request("HEAD", server.root + unfinished)).offset
        assert 204 == (await request("PATCH", server.root + unfinished, patch_headers(4), b"4567")).status
        assert b"01234567" == (await request("GET", server.root + unfinished)).body
        assert 404 == (await request("HEAD", server.root + later)).status
    finally:
        server.stop()
    [replaced] = data.glob("replaced-*")
    assert {"tusd.sqlite3", "uploads"} <= {path.name for path in replaced.iterdir()}


@pytest.mark.anyio
async def test_restore_beside_a_running_server_is_refused(tmp_path: Path) -> None:
    """With ``--replace`` too: a server that has the database open would lose what it writes."""
    data, target = tmp_path / "data", tmp_path / "backup"
    server = await asyncio.to_thread(start_server, data)
    try:
        path = await upload(server, b"x", 1)
        assert 0 == (await asyncio.to_thread(command, "backup", target, "--data-dir", data)).returncode
        refused = await asyncio.to_thread(command, "restore", target, "--replace", "--data-dir", data)
        assert 2 == refused.returncode
        assert "stop the server and every worker first" in refused.stderr
        assert b"x" == (await request("GET", server.root + path)).body
    finally:
        server.stop()


def migrated(directory: Path) -> None:
    assert 0 == command("migrate", "--data-dir", directory).returncode


def test_backup_without_bytes_names_what_is_missing(tmp_path: Path) -> None:
    """Records alone are restored beside the bytes that are there; those without their bytes are named."""
    data, target = tmp_path / "data", tmp_path / "backup"
    migrated(data)
    insert = """INSERT INTO uploads (id, kind, status, length, "offset", token, owner, created_at, updated_at, history,
        pending_steps, storage) VALUES ('a', 'regular', 'uploading', 9, 5, 1, '', 0, 0, '[]', '[]', '{}')"""
    with closing(sqlite3.connect(data / "tusd.sqlite3")) as database, database:
        database.execute(insert)
    done = command("backup", target, "--data-dir", data)
    assert (0, True) == (done.returncode, "not backed up" in done.stdout), done.stderr
    restored = command("restore", target, "--data-dir", tmp_path / "new")
    assert 0 == restored.returncode, restored.stderr
    assert "missing  1 upload with fewer bytes than in the record: a" in restored.stdout


def test_incomplete_changed_or_damaged_backups_are_refused(tmp_path: Path) -> None:
    """A backup without a manifest, or whose database differs from it, is not restored."""
    data, target = tmp_path / "data", tmp_path / "backup"
    migrated(data)
    assert 0 == command("backup", target, "--data-dir", data).returncode
    again = command("backup", target, "--data-dir", data)
    assert (2, True) == (again.returncode, "is not empty" in again.stderr)
    manifest = (target / "manifest.json").read_text()
    assert 1 == json.loads(manifest)["format"]
    with (target / "tusd.sqlite3").open("r+b") as database:
        database.seek(5000)
        database.write(b"garbage")
    changed = command("restore", target, "--data-dir", tmp_path / "new")
    assert (2, True) == (changed.returncode, "has changed since the backup was made" in changed.stderr)
    (target / "manifest.json").unlink()
    incomplete = command("restore", target, "--data-dir", tmp_path / "new")
    assert (2, True) == (incomplete.returncode, "has no manifest.json" in incomplete.stderr)
    assert not (tmp_path / "new").exists()


def test_server_does_not_start_in_an_interrupted_restore(tmp_path: Path) -> None:
    """The sentence says what to do; the restore can be repeated, without ``--replace``."""
    data, target = tmp_path / "data", tmp_path / "backup"
    migrated(data)
    (data / "uploads").mkdir()
    assert 0 == command("backup", target, "--data-dir", data, "--bytes", "copy").returncode
    (data / ".restoring").mkdir()
    refused = command("serve", "--port", "0", "--data-dir", data)
    assert (2, True) == (refused.returncode, "run tusd-py restore again" in refused.stderr)
    assert 0 == command("restore", target, "--data-dir", data).returncode
    assert not (data / ".restoring").exists()


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_restore_writes_nothing_beside_the_backup(tmp_path: Path, mode: str) -> None:
    """The backup has no file but those that are named, and can be on a read-only medium, as one of an older version."""
    data, target = tmp_path / "data", tmp_path / "backup"
    migrated(data)
    (data / "uploads").mkdir()
    assert 0 == command("backup", target, "--data-dir", data, "--bytes", "copy").returncode
    expected = {"manifest.json", "tusd.sqlite3", "uploads"}
    assert expected == {path.name for path in target.iterdir()}
    copied = target / "tusd.sqlite3"
    with closing(sqlite3.connect(copied)) as database:
        assert [("delete",)] == database.execute("PRAGMA journal_mode").fetchall()
        database.execute(f"PRAGMA journal_mode={mode}")
    manifest = json.loads((target / "manifest.json").read_text())
    manifest["database_sha256"] = hashlib.sha256(copied.read_bytes()).hexdigest()
    (target / "manifest.json").write_text(json.dumps(manifest))
    # root may write where others may not: the time of the directory says whether a file was made in it.
    target.chmod(0o555)
    before = target.stat().st_mtime_ns
    restored = command("restore", target, "--data-dir", tmp_path / "new")
    target.chmod(0o755)
    assert 0 == restored.returncode, restored.stderr
    assert before == target.stat().st_mtime_ns
    assert expected == {path.name for path in target.iterdir()}


def test_records_of_uploads_in_s3(tmp_path: Path) -> None:
    """They are backed up and restored without bytes; with bytes both exit with 2 and say where the bytes are."""
    data, target, new = tmp_path / "data", tmp_path / "backup", tmp_path / "new"
    s3 = {"STORAGE__KIND": "s3", "S3__BUCKET": "mine"}
    migrated(data)
    for kind in ("link", "copy"):
        refused = command("backup", target, "--data-dir", data, "--bytes", kind, **s3)
        assert (2, True) == (
            refused.returncode,
            "in the bucket mine: only a backup with --bytes none" in refused.stderr,
        )
    assert not target.exists()
    done = command("backup", target, "--data-dir", data, **s3)
    assert 0 == done.returncode, done.stderr
    assert "not backed up: they are in the bucket mine" in done.stdout
    restored = command("restore", target, "--data-dir", new, **s3)
    assert 0 == restored.returncode, restored.stderr
    assert "tusd-py fsck compares the records with the store" in restored.stdout
    assert (new / "tusd.sqlite3").exists()
    (data / "uploads").mkdir()
    assert 0 == command("backup", tmp_path / "full", "--data-dir", data, "--bytes", "copy").returncode
    refused = command("restore", tmp_path / "full", "--data-dir", tmp_path / "other", **s3)
    assert (2, True) == (refused.returncode, "in the bucket mine: only a backup" in refused.stderr)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("memory", "the records are in memory: there is nothing to back up"),
        ("postgresql://me:hunter2@127.0.0.1:9/x", "PostgreSQL cannot be reached"),
    ],
)
def test_records_that_cannot_be_copied(url: str, expected: str, tmp_path: Path) -> None:
    """Backup exits with 2 and a sentence without the password, and leaves nothing."""
    refused = command("backup", tmp_path / "backup", "--data-dir", tmp_path / "data", RECORDS__URL=url)
    assert (2, True) == (refused.returncode, expected in refused.stderr), refused.stderr
    assert "hunter2" not in refused.stderr
    assert [] == list(tmp_path.iterdir())


def test_keys_that_were_revoked_since_stay_revoked(tmp_path: Path) -> None:
    """Over the database that knows it; on a new machine all are revoked, unless the operator accepts them."""
    data, target = tmp_path / "data", tmp_path / "backup"
    environ = {"ACCOUNTS__API_KEYS": "true"}

    def keys(folder: Path) -> list[bool]:
        listed = command("key", "list", "--json", "--data-dir", folder, **environ)
        assert listed.returncode == 0, listed.stderr
        return [json.loads(line)["revoked_at"] is not None for line in listed.stdout.splitlines()]

    assert 0 == command("migrate", "--data-dir", data).returncode
    for label in ("kept", "revoked"):
        made = command("key", "add", "alice", "--label", label, "--data-dir", data, **environ)
        assert made.returncode == 0, made.stderr
    assert 0 == command("backup", target, "--data-dir", data).returncode
    listed = command("key", "list", "--json", "--data-dir", data, **environ).stdout.splitlines()
    key_id = next(json.loads(line)["id"] for line in listed if json.loads(line)["label"] == "revoked")
    assert 0 == command("key", "revoke", key_id, "--data-dir", data, **environ).returncode
    restored = command("restore", target, "--replace", "--data-dir", data)
    assert "revoked  1 API key: the database that was replaced says so" in restored.stdout, restored
    assert sorted(keys(data)) == [False, True]
    restored = command("restore", target, "--data-dir", tmp_path / "new")
    assert "revoked  2 API keys: the data directory had no database that says which" in restored.stdout, restored
    assert keys(tmp_path / "new") == [True, True]
    restored = command("restore", target, "--keep-credentials", "--data-dir", tmp_path / "trusted")
    assert "API keys" not in restored.stdout, restored
    assert keys(tmp_path / "trusted") == [False, False]
