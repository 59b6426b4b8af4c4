"""The metrics of a running server, with the names that tusd's dashboards use."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.client import create, patch_headers, request
from tests.support.server import RunningServer, start_server
from tests.support.sockets import server_processes
from tests.support.waiting import eventually


async def samples(server: RunningServer) -> dict[str, float]:
    """Every sample by its full name with labels."""
    answer = await request("GET", f"{server.root}/metrics", {})
    assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    lines = [line.rpartition(" ") for line in answer.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


@pytest.mark.anyio
async def test_metrics_have_the_names_of_tusd(server: RunningServer) -> None:
    """One upload, one refusal and one termination are counted."""
    before = await samples(server)
    url = await create(server.url, 4)
    assert (await request("PATCH", url, patch_headers(9), b"x")).status == 409
    assert (await request("PATCH", url, patch_headers(0), b"0123")).status == 204
    assert (await request("DELETE", url)).status == 204
    after = await samples(server)
    for name, grown in (
        ('tusd_requests_total{method="PATCH"}', 2),
        ('tusd_requests_total{method="POST"}', 1),
        ('tusd_errors_total{code="ERR_MISMATCHED_OFFSET",status="409"}', 1),
        ("tusd_bytes_received", 4),
        ("tusd_uploads_created", 1),
        ("tusd_uploads_finished", 1),
        ("tusd_uploads_terminated", 1),
        ("tusd_py_upload_bytes_count", 1),
    ):
        assert after[name] - before.get(name, 0) == grown, name
    assert after["tusd_connections_open"] == 0


@pytest.mark.anyio
async def test_removed_directory_of_shared_metrics(tmp_path: Path) -> None:
    """``/metrics`` is answered, and a process that is killed is replaced by one that shares its metrics again."""
    server = start_server(tmp_path / "data", settings={"SERVER__PROCESSES": "2"})
    try:
        await create(server.url, 4)
        [directory] = (tmp_path / "data" / "metrics").iterdir()
        # The server announces itself when the first of its processes is ready.
        await eventually(lambda: len(re.findall(r"server process \d ready", server.log.read_text())) == 2)
        assert len(list(directory.iterdir())) == 8
        shutil.rmtree(tmp_path / "data" / "metrics")
        await samples(server)
        servers = server_processes(server)
        assert len(servers) == 2
        for pid in servers:
            os.kill(pid, signal.SIGKILL)
        await eventually(lambda: len(re.findall(r"server process \d ready", server.log.read_text())) == 4)
        assert len(list(directory.iterdir())) == 8
        await create(server.url, 4)
        assert (await samples(server))["tusd_uploads_created"] == 1
    finally:
        server.kill()
