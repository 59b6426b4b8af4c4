"""A server that cannot write is not ready, and check says so; one without temporary directories works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import TUS, request
from tests.support.server import start_server

pytestmark = pytest.mark.anyio

NOBODY = 65534
#: Root may write everywhere, so as root the server runs as another user.
AS_USER = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
PROGRAM = [*AS_USER, sys.executable, "-m", "tusd_py"]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A migrated data directory of the user, where that user can reach it."""
    parent = Path(tempfile.mkdtemp(prefix="tusd-py-test-"))
    parent.chmod(0o755)
    path = parent / "data"
    path.mkdir()
    (path / "uploads").mkdir()
    (path / "locks").mkdir()
    if AS_USER:
        for owned in (path, path / "uploads", path / "locks"):
            os.chown(owned, NOBODY, NOBODY)
        if run(*AS_USER, sys.executable, "-c", "").returncode:
            pytest.skip("the other user cannot run this Python")
    subprocess.run([*PROGRAM, "migrate", "--data-dir", str(path)], check=True, capture_output=True)
    yield path
    shutil.rmtree(parent)


@pytest.mark.parametrize(("name", "check"), [("tusd.sqlite3", "records"), ("uploads", "storage"), ("locks", "locks")])
async def test_unwritable_is_not_ready(data_dir: Path, name: str, check: str, tmp_path: Path) -> None:
    """``/readyz`` is 503 and names what cannot be written; ``check`` exits with 2."""
    (data_dir / name).chmod(0o500 if (data_dir / name).is_dir() else 0o400)
    server = start_server(data_dir, program=PROGRAM, log=tmp_path / "log")
    try:
        ready = await request("GET", server.root + "/readyz")
        assert ready.status == 503
        assert json.loads(ready.body)["checks"][check] != "ok"
    finally:
        server.kill()
    result = run(*PROGRAM, "check", "--port", "0", "--data-dir", str(data_dir))
    assert result.returncode == 2, result.stdout
    assert "NOT OK" in result.stdout


async def test_writable_is_ready(data_dir: Path, tmp_path: Path) -> None:
    """The same directory with its usual modes."""
    server = start_server(data_dir, program=PROGRAM, log=tmp_path / "log")
    try:
        ready = await request("GET", server.root + "/readyz")
        assert json.loads(ready.body)["checks"] == {"draining": "ok", "records": "ok", "storage": "ok", "locks": "ok"}
    finally:
        server.kill()


#: Mounts are visible to the server only; its data is at /mnt.
_READ_ONLY = """
set -e
mount --bind "$1" /mnt
for directory in /tmp /var/tmp /dev/shm; do
    mount --bind $directory $directory
    mount -o remount,bind,ro $directory
done
mount -o remount,bind,ro /
shift
exec "$@"
"""


async def test_read_only_root_without_temporary_directories(tmp_path: Path) -> None:
    """Two server processes and a worker, with only the data directory writable."""
    if os.geteuid() != 0 or run("unshare", "-m", "true").returncode:
        pytest.skip("needs root and mount namespaces")
    program = ["unshare", "-m", "sh", "-c", _READ_ONLY, "sh", str(tmp_path), sys.executable, "-m", "tusd_py"]
    settings = {"SERVER__PROCESSES": "2", "WEBHOOKS__ENDPOINTS": '[{"name": "a", "url": "http://127.0.0.1:1/"}]'}
    log = tmp_path / "log"
    server = start_server(Path("/mnt/data"), program=program, log=log, settings=settings)
    try:
        assert (await request("GET", server.root + "/readyz")).status == 200
        created = await request("POST", server.url, {**TUS, "Upload-Length": "0"}, b"")
        assert created.status == 201
        assert "tusd_uploads_created 1.0" in (await request("GET", server.root + "/metrics")).body.decode()
    finally:
        server.kill()
    assert "rror" not in log.read_text(), log.read_text()
