"""SIGHUP and ``tusd-py reload``: new certificates and settings, without a refused connection, and never an end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.client import create, patch_headers, request
from tests.support.server import start_server
from tests.support.waiting import eventually, until_now


def reload(data_dir: Path) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "tusd_py", "reload", "--data-dir", str(data_dir)]
    return subprocess.run(program, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.anyio
@pytest.mark.parametrize("processes", ["1", "2"])
async def test_reload_refuses_no_connection(tmp_path: Path, processes: str) -> None:
    """Creations during a reload all succeed, an upload resumes, and the same process has the new settings."""
    config = tmp_path / "config.toml"
    config.write_text("[uploads]\nlength_max = 100\n")
    data = tmp_path / "data"
    server = await asyncio.to_thread(start_server, data, "--config", str(config), "--processes", processes)
    try:
        url = await create(server.url, 8)
        assert (await request("PATCH", url, patch_headers(0), b"0123")).status == 204
        is_done = False
        made = 0

        async def creating() -> None:
            nonlocal made
            while not is_done:
                await create(server.url, 1)
                made += 1

        clients = [asyncio.create_task(creating()) for _ in range(3)]
        await eventually(lambda: made > 10)
        config.write_text("[uploads]\nlength_max = 200\n")
        done = await asyncio.to_thread(reload, data)
        assert 0 == done.returncode, done.stderr + server.log.read_text()
        assert f"reloaded  process {server.process.pid}\n" == done.stdout
        before = made
        await eventually(lambda: made > before + 10 or any(client.done() for client in clients))
        is_done = True
        await asyncio.gather(*clients)
        assert 4 == (await request("HEAD", url)).offset
        assert (await request("PATCH", url, patch_headers(4), b"4567")).status == 204
        await create(server.url, 150)
    finally:
        assert 0 == server.stop()
    assert not list((data / "servers").glob("*")), "the file of a server that has stopped is removed"


@pytest.mark.parametrize("processes", ["1", "2"])
def test_wrong_settings_change_nothing(tmp_path: Path, processes: str) -> None:
    """SIGHUP and SIGUSR2 with wrong settings leave the server as it is, and the log says why."""
    config = tmp_path / "config.toml"
    config.write_text("")
    server = start_server(tmp_path / "data", "--config", str(config), "--processes", processes)

    def logged() -> int:
        return server.log.read_text().count("the old ones stay in effect")

    try:
        config.write_text("[uploads]\nlenght_max = 1\n")
        for count, number in enumerate((signal.SIGHUP, signal.SIGUSR2), 1):
            os.kill(server.process.pid, number)
            # With two processes the parent and both of them log it.
            until_now(lambda count=count: logged() >= count, "it is logged")  # type: ignore[misc]
        assert server.process.poll() is None
        assert "did you mean uploads.length_max" in server.log.read_text()
    finally:
        assert 0 == server.stop()


def test_hangup_takes_over_the_log_and_names_the_rest(tmp_path: Path) -> None:
    """The level of the log changes at once; a changed limit is named as needing a reload."""
    config = tmp_path / "config.toml"
    config.write_text("")
    server = start_server(tmp_path / "data", "--config", str(config))
    try:
        config.write_text("[uploads]\nlength_max = 7\n[log]\nformat = 'text'\n")
        os.kill(server.process.pid, signal.SIGHUP)
        expected = "changed settings need tusd-py reload or a restart settings=uploads.length_max"
        until_now(lambda: expected in server.log.read_text(), "it is logged")
    finally:
        assert 0 == server.stop()


def test_reload_without_a_server_exits_with_2(tmp_path: Path) -> None:
    """A directory that no server uses is answered with a sentence, and not created."""
    done = reload(tmp_path / "typo")
    assert 2 == done.returncode
    assert f"tusd-py: no server of this machine uses the data directory {tmp_path / 'typo'}\n" == done.stderr
    assert not (tmp_path / "typo").exists()
