"""The worker that ``tusd-py serve`` starts as a child process: when, how many, and when it stops."""

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
from tests.support.receiver import Receiver, receiving
from tests.support.server import RunningServer, start_server
from tests.support.waiting import eventually


def worker_processes(server: RunningServer) -> list[int]:
    """The ids of the server's children that are workers."""
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
    """Run ``tusd-py worker`` during the block; then SIGTERM stops it with exit code 0."""
    environment = {**os.environ, **{f"TUSD_PY_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "tusd_py", "worker", "--data-dir", str(data_dir)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as worker:
        try:
            yield
        finally:
            worker.terminate()
            code = worker.wait(20)
    assert 0 == code


def webhook_to(receiver: Receiver) -> dict[str, str]:
    return {"WEBHOOKS__ENDPOINTS": json.dumps([{"name": "all", "url": receiver.url, "allow_private": True}])}


async def upload(server: RunningServer) -> None:
    location = await create(server.url, 4)
    assert (await request("PATCH", location, patch_headers(0), b"0123")).status == 204


@pytest.mark.anyio
async def test_no_worker_without_need(tmp_path: Path) -> None:
    """With default settings the server starts no worker."""
    server = await asyncio.to_thread(start_server, tmp_path / "data")
    try:
        await upload(server)
        assert [] == worker_processes(server)
    finally:
        assert 0 == server.stop()


@pytest.mark.parametrize("flags", [[], ["--processes", "2"]], ids=["one process", "two processes"])
@pytest.mark.anyio
async def test_one_worker_for_all_processes_stops_last(tmp_path: Path, flags: list[str]) -> None:
    """The worker is a child of the first process, delivers events, and has exited when the server has."""
    with receiving() as receiver:
        server = await asyncio.to_thread(start_server, tmp_path / "data", *flags, settings=webhook_to(receiver))
        try:
            for _ in range(3):
                await upload(server)
            await eventually(lambda: len(receiver.calls) >= 9, "all events are delivered")
            (worker,) = worker_processes(server)
        finally:
            assert 0 == await asyncio.to_thread(server.stop)
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
        log = server.log.read_text()
        assert "Traceback" not in log
        assert "worker stopped" in log


@pytest.mark.anyio
async def test_user_package_named_workers_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a ``workers`` package in the working directory and on ``PYTHONPATH``, the server starts its own worker."""
    package = tmp_path / "site" / "workers"
    package.mkdir(parents=True)
    for module in ("__init__.py", "__main__.py"):
        (package / module).write_text("raise SystemExit('the package of the user was imported')\n")
    monkeypatch.chdir(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    with receiving() as receiver:
        settings = webhook_to(receiver)
        server = await asyncio.to_thread(start_server, tmp_path / "data", settings=settings)
        try:
            await upload(server)
            await eventually(lambda: len(receiver.calls) >= 3, "every event is delivered")
        finally:
            assert 0 == await asyncio.to_thread(server.stop)
        assert "exited" not in server.log.read_text()
        server = await asyncio.to_thread(start_server, tmp_path / "other", "--no-worker", settings=settings)
        try:
            await upload(server)
            with separate_worker(tmp_path / "other", settings):
                await eventually(lambda: len(receiver.calls) >= 6, "every event is delivered")
        finally:
            assert 0 == await asyncio.to_thread(server.stop)


@pytest.mark.anyio
async def test_jobs_wait_for_a_worker(tmp_path: Path) -> None:
    """With ``--no-worker`` no event is delivered until ``tusd-py worker`` runs."""
    with receiving() as receiver:
        settings = webhook_to(receiver)
        server = await asyncio.to_thread(start_server, tmp_path / "data", "--no-worker", settings=settings)
        try:
            await upload(server)
            assert [] == worker_processes(server)
            assert [] == receiver.calls
            with separate_worker(tmp_path / "data", settings):
                await eventually(lambda: len(receiver.calls) >= 3, "all events are delivered")
        finally:
            assert 0 == server.stop()


def test_worker_without_a_database_exits_with_2(tmp_path: Path) -> None:
    """With records in memory a worker shares nothing with the server: one sentence, and exit code 2."""
    environment = {**os.environ, "TUSD_PY_RECORDS__URL": "memory"}
    command = [sys.executable, "-m", "tusd_py", "worker", "--data-dir", str(tmp_path / "data")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert 2 == done.returncode
    assert done.stderr.startswith('tusd-py: records.url is "memory"')
