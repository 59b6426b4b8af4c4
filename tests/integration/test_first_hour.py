"""What a new user does in the first hour, from the wheel, in an empty directory (``make first-hour``)."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.image import ROOT
from tests.support.ports import free_port
from tests.support.waiting import until_now

pytestmark = pytest.mark.timeout(300)


#: FastAPI is no requirement of the wheel: it comes from the environment of the tests, after what is installed.
UVICORN = f"import sys; sys.path.append({sysconfig.get_path('purelib')!r}); import uvicorn; uvicorn.main()"


@pytest.fixture
def environment(image: tuple[Path, Path]) -> Path:
    """An environment with the wheel and its requirements only."""
    return image[0]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty directory."""
    return tmp_path


def tusd_py(environment: Path, home: Path, *arguments: str, code: int = 0) -> str:
    """Run a command in ``home`` and return its output."""
    done = subprocess.run(
        [environment / "bin" / "tusd-py", *arguments],
        cwd=home,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert code == done.returncode, f"{arguments}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH" and "TUSD_PY" not in name}


@contextmanager
def running(command: Sequence[str | Path], home: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in ``home`` until the end of the block; its output goes to ``log`` there."""
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(command, cwd=home, env=clean_environment(), stdout=log, stderr=log)
    try:
        until_now(lambda: answers(port), (home / "log").read_text(), 30)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(20)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def upload(port: int, name: str, content: bytes, **headers: str) -> tuple[int, str]:
    """Upload in one request and return the status and the path of the upload."""
    head = {
        "Tus-Resumable": "1.0.0",
        "Upload-Length": str(len(content)),
        "Upload-Metadata": f"filename {base64.b64encode(name.encode()).decode()}",
        "Content-Type": "application/offset+octet-stream",
        **headers,
    }
    request = urllib.request.Request(f"http://127.0.0.1:{port}/files/", content, head, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, "/" + response.headers["Location"].partition("//")[2].partition("/")[2]
    except urllib.error.HTTPError as error:
        return error.code, ""


def download(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
        content: bytes = response.read()
        return content


def test_program_is_installed_and_explains_itself(environment: Path, home: Path) -> None:
    """The version is printed in less than 0.3 s of CPU time, the configuration can be written and is checked."""
    assert tusd_py(environment, home, "--version").startswith("tusd-py 0.")
    before = os.times()
    tusd_py(environment, home, "--version")
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.3
    assert "Commands:" in tusd_py(environment, home, "-h")
    (home / "config.toml").write_text(tusd_py(environment, home, "config", "--default"))
    assert "NOT OK" not in tusd_py(environment, home, "check", "--port", "0")
    assert ["config.toml"] == [path.name for path in home.iterdir()]


def test_example_of_the_readme_uses_the_file_of_a_user(environment: Path, home: Path) -> None:
    """The FastAPI example, run unchanged by uvicorn, refuses a stranger and prints what ann has sent."""
    (example,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    (home / "app.py").write_text(example)
    port = free_port()
    command: list[str | Path] = [environment / "bin" / "python", "-c", UVICORN, "app:app", "--port", str(port)]
    with running(command, home, port):
        assert (403, "") == upload(port, "a.txt", b"hello")
        assert 201 == upload(port, "a.txt", b"hello, world", Authorization="Bearer let-me-in")[0]
        until_now(lambda: "ann sent a.txt: b'hello, world'" in (home / "log").read_text(), (home / "log").read_text())


def test_operator_lists_backs_up_restores_and_deletes(environment: Path, home: Path) -> None:
    """``uploads``, ``backup`` beside the server, ``kill -9``, ``restore``; then everything is as it was."""
    port = free_port()
    command: list[str | Path] = [environment / "bin" / "tusd-py", "serve", "--port", str(port)]
    with running(command, home, port) as server:
        status, path = upload(port, "kept.txt", b"kept")
        assert 201 == status
        listed = tusd_py(environment, home, "uploads", "list", "--json")
        upload_id = json.loads(listed)["id"]
        assert path.endswith(upload_id)
        assert '"filename": "kept.txt"' in tusd_py(environment, home, "uploads", "show", upload_id)
        tusd_py(environment, home, "backup", "backup", "--bytes", "copy")
        upload(port, "lost.txt", b"lost")
        server.send_signal(signal.SIGKILL)
        server.wait(10)
    tusd_py(environment, home, "restore", "backup", code=2)
    tusd_py(environment, home, "restore", "backup", "--replace")
    with running(command, home, port):
        assert b"kept" == download(port, path)
        assert [upload_id] == [json.loads(line)["id"] for line in listed.splitlines()]
        assert 1 == len(tusd_py(environment, home, "uploads", "list").splitlines())
        tusd_py(environment, home, "uploads", "expire", upload_id)
        assert "no uploads" in tusd_py(environment, home, "uploads", "list")
        assert "does not exist" in tusd_py(environment, home, "uploads", "delete", "unknown", code=2)
