"""The commands and examples of the documentation work."""

from __future__ import annotations

import io
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tusclient.client import TusClient

from tests.support.image import run
from tests.support.server import start_server
from tests.support.stored import assert_stored

ROOT = Path(__file__).parents[2]


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / document).read_text(), re.M | re.S)


@pytest.mark.skipif(
    shutil.which("sqlite3") is None and not os.environ.get("CI"),
    reason="sqlite3 is not installed (Debian: apt-get install sqlite3)",
)
def test_documented_backup_and_restore(tmp_path: Path) -> None:
    """The documented commands restore the backup; the log that a killed server left behind is not applied to it."""
    backup, restore = (
        block.replace("/backup", str(tmp_path / "backup"))
        for block in blocks("docs/operations.md", "sh")
        if "/backup" in block
    )
    data_dir = tmp_path / "data"
    # SQLite keeps commits in the -wal file until it has far more pages than these few uploads write.
    server = start_server(data_dir)
    kept = [TusClient(server.url).uploader(file_stream=io.BytesIO(b"kept")) for _ in range(20)]
    for uploader in kept:
        uploader.upload()
    run(backup, tmp_path)
    for _ in range(200):
        TusClient(server.url).uploader(file_stream=io.BytesIO(b"lost")).upload()
    server.kill()
    assert (data_dir / "tusd.sqlite3-wal").stat().st_size > 0, "the log that must not be applied"
    run(restore, tmp_path)
    server = start_server(data_dir)
    try:
        for uploader in kept:
            assert_stored(server, str(uploader.url), b"kept")
    finally:
        server.stop()
    with closing(sqlite3.connect(data_dir / "tusd.sqlite3")) as database:
        assert [("ok",)] == database.execute("PRAGMA integrity_check").fetchall()
        assert [(20,)] == database.execute("SELECT count(*) FROM uploads").fetchall()


def test_python_examples_run(tmp_path: Path) -> None:
    """Each Python example of README.md and docs/library.md runs as it stands, with its own imports."""
    examples = [*blocks("README.md", "python"), *blocks("docs/library.md", "python")]
    assert 9 == len(examples)
    # One example imports this module of a Django project.
    (tmp_path / "mysite").mkdir()
    (tmp_path / "mysite" / "asgi.py").write_text("async def application(scope, receive, send): ...\n")
    for example in examples:
        script = example.replace("/srv/tus", str(tmp_path / "tus"))
        process = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert 0 == process.returncode, f"{example}\n{process.stderr}"


def test_picture_of_the_readme_is_a_png() -> None:
    """The picture in the README exists and is no placeholder."""
    picture = (ROOT / "docs" / "page" / "desktop.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000
