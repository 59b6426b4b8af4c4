"""A rolling upgrade: the previous version serves beside this one while and after this one migrates the database."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.content import MIB, content
from tests.support.image import ROOT
from tests.support.machines import Machines
from tests.support.postgres import shared_server
from tests.support.server import RunningServer, start_server
from tests.support.stored import assert_stored
from tusd_py.records.sql.schema import newest_revision

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(180)]

MIGRATIONS = "tusd_py/records/sql/migrations/versions"
UPLOADS = 8


def git(*arguments: str) -> str:
    """What git says of this checkout. Skips where there is no history: in an export, or a shallow clone."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def previous_commit() -> str:
    """The newest commit that has some of the migrations of this checkout, and no others.

    A commit of a branch may have one under a number that another one got when the branches were merged.
    """
    ours = {path.name for path in (ROOT / MIGRATIONS).glob("r*.py")}
    for changed in git("rev-list", "HEAD", "--", MIGRATIONS).split():
        names = {Path(name).name for name in git("ls-tree", "--name-only", f"{changed}^", f"{MIGRATIONS}/").split()}
        if {name for name in names if name.startswith("r")} < ours:
            return f"{changed}^"
    pytest.skip("no commit of this history has fewer migrations")


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The program of the previous version, with the packages that this one has."""
    directory = tmp_path_factory.mktemp("previous")
    archive = directory / "archive.tar"
    git("archive", f"--output={archive}", previous_commit(), "tusd_py", "workers", "config.toml")
    shutil.unpack_archive(archive, directory, filter="data")
    script = directory / "program"
    script.write_text(
        f'#!/bin/sh\ncd {directory}\nPYTHONSAFEPATH=1 PYTHONPATH={directory} exec {sys.executable} -m tusd_py "$@"\n'
    )
    script.chmod(0o755)
    printed = subprocess.run([script, "migrate", "--help"], capture_output=True, text=True, check=True)
    assert "migrate" in printed.stdout
    return [str(script)]


@pytest.fixture
def settings() -> Mapping[str, str]:
    """Servers that share a database and a directory, as machines do."""
    postgres = shared_server()
    url = postgres.url(postgres.create_database())
    return {"RECORDS__URL": url, "LOCKING__KIND": "records", "WORKER__MODE": "separate", "QUOTAS__ENABLED": "true"}


@pytest.fixture
def started() -> Iterator[list[RunningServer]]:
    """Collects the servers of a test, which are killed at its end."""
    servers: list[RunningServer] = []
    yield servers
    for server in servers:
        if server.process.poll() is None:
            server.kill()


async def test_both_versions_serve_one_database(
    tmp_path: Path, previous: list[str], settings: Mapping[str, str], started: list[RunningServer]
) -> None:
    """Uploads that go to either end right: this version migrates, the previous one goes on, also after a restart."""
    data, log = tmp_path / "data", tmp_path / "previous.log"
    old = await asyncio.to_thread(start_server, data, settings=settings, log=log, program=previous)
    started.append(old)
    both = Machines([old], settings)
    pieces = [content(number, 3 * MIB + number) for number in range(UPLOADS)]
    uploads = [both.upload(piece, rate=1.2 * MIB) for piece in pieces]
    async with asyncio.TaskGroup() as group:
        for upload in uploads[: UPLOADS // 2]:
            group.create_task(upload.run())
        await asyncio.sleep(0.5)
        new = await asyncio.to_thread(start_server, data, settings=settings, log=tmp_path / "new.log")
        started.append(new)
        both.servers.append(new)
        for upload in uploads[UPLOADS // 2 :]:
            group.create_task(upload.run())
        await asyncio.sleep(0.5)
        old.kill()
        again = await asyncio.to_thread(start_server, data, settings=settings, log=log, port=old.port, program=previous)
        started.append(again)
        both.servers[0] = again
    assert "0001" in (tmp_path / "previous.log").read_text()
    assert newest_revision() in (tmp_path / "new.log").read_text()
    for upload, piece in zip(uploads, pieces, strict=True):
        assert upload.url is not None
        assert_stored(new, upload.url, piece)
    for server in (again, new):
        assert 0 == await asyncio.to_thread(server.stop)
        assert "Traceback" not in server.log.read_text()


async def test_database_of_this_version_is_used_by_the_previous_one(
    tmp_path: Path, previous: list[str], settings: Mapping[str, str], started: list[RunningServer]
) -> None:
    """A return to the previous version needs no change of the database, on SQLite and PostgreSQL."""
    for name, chosen in (("postgresql", settings), ("sqlite", {"QUOTAS__ENABLED": "true"})):
        data, piece = tmp_path / name, content(1, 100_000)
        new = await asyncio.to_thread(start_server, data, settings=chosen)
        started.append(new)
        assert 0 == await asyncio.to_thread(new.stop)
        old = await asyncio.to_thread(start_server, data, settings=chosen, program=previous)
        started.append(old)
        upload = Machines([old], chosen).upload(piece)
        await upload.run()
        assert upload.url is not None
        assert_stored(old, upload.url, piece)
        assert 0 == await asyncio.to_thread(old.stop)
