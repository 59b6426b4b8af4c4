"""SIGHUP and ``tusd-py reload``: new certificates and settings, without a refused connection, and never an end."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import ssl
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.certificates import make_certificate
from tests.support.client import TUS, create, patch_headers, request
from tests.support.server import start_server
from tests.support.waiting import eventually, until_now


def reload(data_dir: Path) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "tusd_py", "reload", "--data-dir", str(data_dir)]
    return subprocess.run(program, capture_output=True, text=True, timeout=100, check=False)


def zombies_of(pid: int) -> list[int]:
    """The children of a process that have exited and that it has not waited for."""
    if sys.platform != "linux":
        return []
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in children if " Z " in Path(f"/proc/{each}/stat").read_text()]


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
        await eventually(lambda: [] == zombies_of(server.process.pid), "what the program before has left is reaped")
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


@pytest.mark.anyio
@pytest.mark.parametrize("processes", ["1", "2"])
async def test_hangup_takes_over_validation_rules(tmp_path: Path, processes: str) -> None:
    """In the worker, which goes on running, and where the first bytes of a body are checked; nothing is interrupted."""
    config = tmp_path / "config.toml"
    rules = '[validation]\nenabled = true\nearly = true\n[[validation.rules]]\nname = "r"\nallowed_types = ["{}/*"]\n'
    config.write_text(rules.format("image") + "size_max = 10\n")
    data = tmp_path / "data"
    server = await asyncio.to_thread(start_server, data, "--config", str(config), "--processes", processes)

    async def status(content: bytes, early: bool) -> int:
        """What a download is answered with once the upload is validated, or what its body is answered with."""
        url = await create(server.url, len(content))
        sent = (await request("PATCH", url, patch_headers(0), content)).status
        if early or sent != 204:
            return sent
        for _ in range(1000):
            if (answer := (await request("GET", url)).status) != 409:
                return answer
            await asyncio.sleep(0.01)
        raise AssertionError("it is not validated")

    def workers() -> int:
        return server.log.read_text().count("job worker started")

    try:
        assert 415 == await status(b"x" * 5000, early=True)
        config.write_text(rules.format("text") + "size_max = 10\n")
        os.kill(server.process.pid, signal.SIGHUP)
        # Each process takes it over by itself, and connections reach them in turn.
        accepted = 0
        for _ in range(200):
            accepted = accepted + 1 if 204 == await status(b"x" * 5000, early=True) else 0
            if accepted == 8:
                break
        assert accepted == 8
        assert 200 != await status(b"y" * 20, early=False), "the worker has the size of before"
        config.write_text(rules.format("text") + "size_max = 100\n")
        os.kill(server.process.pid, signal.SIGHUP)
        for _ in range(50):
            if 200 == (answer := await status(b"y" * 20, early=False)):
                break
        assert 200 == answer
        assert 1 == workers(), "the worker has not been started again"
    finally:
        assert 0 == server.stop()


def certificate_of(connection: http.client.HTTPSConnection) -> bytes:
    assert isinstance(connection.sock, ssl.SSLSocket)
    certificate = connection.sock.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


@pytest.mark.parametrize("processes", ["1", "2"])
def test_hangup_takes_over_a_renewed_certificate(tmp_path: Path, processes: str) -> None:
    """New connections see the new certificate; a connection that is open goes on, in the middle of an upload."""
    certificate, key = make_certificate(tmp_path, "before")
    flags = ["--tls-certificate", str(certificate), "--tls-key", str(key), "--processes", processes]
    server = start_server(tmp_path / "data", *flags)
    context = ssl._create_unverified_context()

    def connect() -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=20, context=context)
        connection.connect()
        return connection

    def presented() -> bytes:
        with closing(connect()) as connection:
            return certificate_of(connection)

    old = connect()
    try:
        old.request("POST", "/files/", headers={**TUS, "Upload-Length": "8"})
        created = old.getresponse()
        created.read()
        path = urlsplit(created.headers["location"]).path
        # The first half of a body is on its way when the certificate changes.
        old.putrequest("PATCH", path)
        for name, value in {**patch_headers(0), "Content-Length": "8"}.items():
            old.putheader(name, value)
        old.endheaders(b"0123")
        before = certificate_of(old)
        make_certificate(tmp_path, "after")
        assert presented() == before, "the file alone changes nothing"
        os.kill(server.process.pid, signal.SIGHUP)
        until_now(lambda: all(presented() != before for _ in range(8)), "it is taken over")
        old.send(b"4567")
        answer = old.getresponse()
        answer.read()
        assert (204, "8") == (answer.status, answer.headers["upload-offset"])
        assert certificate_of(old) == before, "it is the same connection"
    finally:
        old.close()
        assert 0 == server.stop()


def test_half_a_certificate_changes_nothing(tmp_path: Path) -> None:
    """A certificate whose key has not been replaced yet is refused with a line in the log, and the old one stays."""
    certificate, key = make_certificate(tmp_path, "before")
    server = start_server(tmp_path / "data", "--tls-certificate", str(certificate), "--tls-key", str(key))
    try:
        before = ssl.get_server_certificate(("127.0.0.1", server.port))
        old_key = key.read_bytes()
        make_certificate(tmp_path, "after")
        key.write_bytes(old_key)
        os.kill(server.process.pid, signal.SIGHUP)
        until_now(lambda: "the old ones stay in effect" in server.log.read_text(), "it is logged")
        assert before == ssl.get_server_certificate(("127.0.0.1", server.port))
    finally:
        assert 0 == server.stop()
