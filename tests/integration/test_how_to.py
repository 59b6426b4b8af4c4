"""The code, commands and settings of the how-to guides work as they stand."""

from __future__ import annotations

import io
import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from starlette.testclient import TestClient
from tusclient.client import TusClient

from tests.support.client import TUS
from tests.support.server import start_server
from tests.unit.imports.test_tusd_directory import made
from tusd_py.settings import from_mapping
from tusd_py.settings.loading import sections

DOCS = Path(__file__).parents[2] / "docs"
BODY = {"Content-Type": "application/offset+octet-stream"}


def text(name: str) -> str:
    return (DOCS / "how-to" / name).read_text()


def blocks(name: str, language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text(name), re.M | re.S)
    return [re.sub(rf"^{indent}", "", block, flags=re.M) for indent, block in found]


def run(script: str, directory: Path) -> str:
    """Run commands that call the program of the tests as ``tusd-py``; return their output."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", script], cwd=directory, env=environment, capture_output=True, text=True, timeout=90
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def test_fastapi_with_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ann uploads after her login and sees her file; strangers and Bob are refused."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APP_SECRET", "s" * 32)
    (tmp_path / "app.py").write_text(blocks("fastapi-login.md", "python")[0])
    creation = {**TUS, **BODY, "Upload-Length": "5", "Upload-Metadata": "filename YS50eHQ="}
    with TestClient(runpy.run_path("app.py")["app"]) as client:
        assert 403 == client.post("/files/", headers=creation).status_code
        assert 401 == client.post("/login", json={"name": "ann", "password": "wrong"}).status_code
        assert 200 == client.post("/login", json={"name": "ann", "password": "correct horse"}).status_code
        created = client.post("/files/", headers=creation, content=b"he")
        assert 201 == created.status_code
        upload = created.headers["location"]
        ending = {**TUS, **BODY, "Upload-Offset": "2"}
        client.cookies.clear()
        assert 403 == client.patch(upload, headers=ending, content=b"llo").status_code
        client.post("/login", json={"name": "bob", "password": "battery staple"})
        assert 403 == client.patch(upload, headers=ending, content=b"llo").status_code
        assert [] == client.get("/mine").json()
        client.post("/login", json={"name": "ann", "password": "correct horse"})
        assert 204 == client.patch(upload, headers=ending, content=b"llo").status_code
        for _ in range(500):
            if client.get("/mine").json():
                break
        assert ["a.txt"] == client.get("/mine").json()


def test_nightly_backup_drill_and_restore(tmp_path: Path) -> None:
    """The three scripts run one after the other beside a server, and the restored server has the upload."""
    (tmp_path / "config.toml").write_text(f'[storage]\ndata_dir = "{tmp_path}/data"\n')
    (tmp_path / "backup").mkdir()
    night, drill, restore = (
        block.replace("/etc/tusd-py.toml", f"{tmp_path}/config.toml")
        .replace("/backup", f"{tmp_path}/backup")
        .replace("/var/tmp/drill", f"{tmp_path}/drill")
        for block in blocks("backup.md", "sh")
    )
    server = start_server(tmp_path / "data")
    uploader = TusClient(server.url).uploader(file_stream=io.BytesIO(b"kept"))
    uploader.upload()
    upload_id = str(uploader.url).rsplit("/", 1)[1]
    try:
        run(night, tmp_path)
        assert upload_id in run(drill, tmp_path)
    finally:
        server.stop()
    run("systemctl() { :; }\n" + drill.splitlines()[0] + "\n" + restore, tmp_path)
    server = start_server(tmp_path / "data")
    try:
        assert b"kept" == server.stored(str(uploader.url))
    finally:
        server.stop()


def test_prometheus_scrapes_the_job_of_the_alert_rules() -> None:
    """The configuration is YAML, with the name of the job that the rules use and a rule file that exists."""
    (configuration,) = map(yaml.safe_load, blocks("monitoring.md", "yaml"))
    (job,) = configuration["scrape_configs"]
    (rules,) = configuration["rule_files"]
    assert f'job="{job["job_name"]}"' in (DOCS / "monitoring" / rules).read_text()


def test_line_of_the_log_is_found(tmp_path: Path) -> None:
    """The command that finds the story of an upload finds its creation."""
    (search,) = blocks("monitoring.md", "sh")
    server = start_server(tmp_path / "data", "--log-format", "json", log=tmp_path / "server.log")
    try:
        uploader = TusClient(server.url).uploader(file_stream=io.BytesIO(b"kept"))
        uploader.upload()
    finally:
        server.stop()
    upload_id = str(uploader.url).rsplit("/", 1)[1]
    done = subprocess.run(["sh", "-c", f"id={upload_id}\n{search}"], cwd=tmp_path, capture_output=True, text=True)
    assert "upload created" in done.stdout


def test_settings_for_a_move_from_tusd_exist() -> None:
    """Each named setting is one, and the settings for running side by side are valid."""
    rows = re.findall(r"^\| `-.*$", text("moving-from-tusd.md"), re.M)
    named = [name for row in rows for name in re.findall(r"`([a-z0-9]+\.[a-z_]+)`", row.split("|")[2])]
    assert len(named) > 20
    known = {f"{section}.{key}" for section, kind in sections().items() for key in kind.model_fields}
    assert set() == set(named) - known
    (side_by_side,) = blocks("moving-from-tusd.md", "toml")
    settings = from_mapping(tomllib.loads(side_by_side), "the page")
    assert (8090, "/uploads/") == (settings.server.port, settings.server.base_path)


def test_uploads_move_from_tusd(tmp_path: Path) -> None:
    """The commands, but for the last one, which starts the server, copy the uploads of a directory of tusd."""
    made(tmp_path / "tusd", "unfinished", b"abc")
    look, copy = (block.replace("/srv/tusd/data", "tusd") for block in blocks("moving-from-tusd.md", "sh"))
    assert "1 would be taken over" in run(look, tmp_path)
    assert copy.endswith("tusd-py serve\n")
    assert "1 taken over" in run(copy.removesuffix("tusd-py serve\n"), tmp_path)
    assert b"abc" == (tmp_path / "data" / "uploads" / "unfinished").read_bytes()
