"""The commands and examples of the documentation work."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.server import start_server

ROOT = Path(__file__).parents[2]


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / document).read_text(), re.M | re.S)


def test_commands_of_the_readme(tmp_path: Path) -> None:
    """The README's commands, run unchanged, create an upload, send it in two parts and download it."""
    server = start_server(tmp_path / "data")
    try:
        (script,) = [block for block in blocks("README.md", "sh") if "Upload-Length" in block]
        script = script.replace("http://127.0.0.1:8080", server.root)
        shell = subprocess.run(["sh", "-eu", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert 0 == shell.returncode, shell.stderr
        assert "upload-offset: 7" in shell.stdout.lower()
        assert shell.stdout.endswith("hello, world")
        (stored,) = (server.data_dir / "uploads").iterdir()
        assert b"hello, world" == stored.read_bytes()
    finally:
        server.stop()


def test_python_examples_run(tmp_path: Path) -> None:
    """Each Python example of README.md and docs/library.md runs."""
    imports = "from fastapi import FastAPI\nfrom tusd_py import Tus\n"
    examples = [*blocks("README.md", "python"), *blocks("docs/library.md", "python")]
    assert 7 == len(examples)
    # One example imports this module of a Django project.
    (tmp_path / "mysite").mkdir()
    (tmp_path / "mysite" / "asgi.py").write_text("async def application(scope, receive, send): ...\n")
    for example in examples:
        script = imports + example.replace("/srv/tus", str(tmp_path / "tus"))
        process = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert 0 == process.returncode, f"{example}\n{process.stderr}"


def test_picture_of_the_readme_is_a_png() -> None:
    """The picture in the README exists and is no placeholder."""
    picture = (ROOT / "docs" / "page.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000
