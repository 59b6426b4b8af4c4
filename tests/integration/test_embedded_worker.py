"""The worker that ``tusd-py serve`` starts: when, how many, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.client import create, patch_headers, request
from tests.support.loops import on_loop
from tests.support.receiver import Receiver, receiving
from tests.support.server import RunningServer, start_server
from tests.support.waiting import eventually


def worker_processes(server: RunningServer) -> list[int]:
    """The children of the server that are workers."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            words = (path / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == server.process.pid and b"--child" in words:
            found.append(int(path.name))
    return found


@contextmanager
def separate_worker(data_dir: Path, settings: dict[str, str]) -> Iterator[None]:
    """``tusd-py worker`` as long as the block runs; then SIGTERM ends it with 0."""
    environment = {**os.environ, **{f"TUSD_PY_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "tusd_py", "worker", "--data-dir", str(data_dir)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as worker:
        try:
            yield
        finally:
            worker.terminate()
            code = worker.wait(20)
    assert 0 == code


def told_of(receiver: Receiver) -> dict[str, str]:
    return {"WEBHOOKS__ENDPOINTS": json.dumps([{"name": "all", "url": receiver.url, "allow_private": True}])}


async def upload(server: RunningServer) -> None:
    location = await create(server.url, 4)
    assert (await request("PATCH", location, patch_headers(0), b"0123")).status == 204


@on_loop
async def test_a_server_that_needs_no_worker_starts_none(tmp_path: Path) -> None:
    """With default settings there is one process, and an upload makes no row beside its record."""
    server = await asyncio.to_thread(start_server, tmp_path / "data")
    try:
        await upload(server)
        assert [] == worker_processes(server)
    finally:
        assert 0 == server.stop()


@pytest.mark.parametrize("flags", [[], ["--workers", "2"]], ids=["alone", "two processes"])
@on_loop
async def test_one_worker_for_all_processes_ends_last(tmp_path: Path, flags: list[str]) -> None:
    """It is a child of the first process, tells of uploads, and has ended when the server has."""
    with receiving() as receiver:
        server = await asyncio.to_thread(start_server, tmp_path / "data", *flags, settings=told_of(receiver))
        try:
            for _ in range(3):
                await upload(server)
            await eventually(lambda: len(receiver.calls) >= 9, "everything is told")
            (worker,) = worker_processes(server)
        finally:
            assert 0 == await asyncio.to_thread(server.stop)
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
        log = server.log.read_text()
        assert "Traceback" not in log
        assert "worker stopped" in log


@on_loop
async def test_a_package_of_the_user_named_workers_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a ``workers`` package in the working directory and on ``PYTHONPATH``, the server starts its own worker."""
    package = tmp_path / "site" / "workers"
    package.mkdir(parents=True)
    for module in ("__init__.py", "__main__.py"):
        (package / module).write_text("raise SystemExit('the package of the user was imported')\n")
    monkeypatch.chdir(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    with receiving() as receiver:
        settings = told_of(receiver)
        server = await asyncio.to_thread(start_server, tmp_path / "data", settings=settings)
        try:
            await upload(server)
            await eventually(lambda: len(receiver.calls) >= 3, "everything is told")
        finally:
            assert 0 == await asyncio.to_thread(server.stop)
        assert "died" not in server.log.read_text()
        server = await asyncio.to_thread(start_server, tmp_path / "other", "--no-worker", settings=settings)
        try:
            await upload(server)
            with separate_worker(tmp_path / "other", settings):
                await eventually(lambda: len(receiver.calls) >= 6, "everything is told by a worker of its own")
        finally:
            assert 0 == await asyncio.to_thread(server.stop)


@on_loop
async def test_without_a_worker_what_is_to_be_done_waits_for_one(tmp_path: Path) -> None:
    """With ``--no-worker`` nothing is told, until ``tusd-py worker`` runs."""
    with receiving() as receiver:
        settings = told_of(receiver)
        server = await asyncio.to_thread(start_server, tmp_path / "data", "--no-worker", settings=settings)
        try:
            await upload(server)
            assert [] == worker_processes(server)
            assert [] == receiver.calls
            with separate_worker(tmp_path / "data", settings):
                await eventually(lambda: len(receiver.calls) >= 3, "everything is told")
        finally:
            assert 0 == server.stop()


def test_a_worker_without_a_database_is_refused(tmp_path: Path) -> None:
    """With records in memory there is nothing to share: a sentence, and exit code 2."""
    environment = {**os.environ, "TUSD_PY_RECORDS__URL": "memory"}
    command = [sys.executable, "-m", "tusd_py", "worker", "--data-dir", str(tmp_path / "data")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert 2 == done.returncode
    assert done.stderr.startswith('tusd-py: records.url is "memory"')
