"""``tusd-py check --live``: whether the running server answers at the address in its settings."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.certificates import make_certificate
from tests.support.server import start_server
from tusd_py.cli import app

CHECK = [sys.executable, "-m", "tusd_py", "check", "--live"]


def check(directory: Path, *flags: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TUSD_PY_")}
    environment |= {f"TUSD_PY_{name}": value for name, value in settings.items()}
    command = [*CHECK, *flags]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=20)


@contextmanager
def silent_listener() -> Iterator[int]:
    """A server that hangs: connections are accepted, but never answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_healthy_server_on_a_port_exits_0(tmp_path: Path, host: str) -> None:
    """A healthy server exits with 0, after it has stopped with 1; a server on every address is asked over loopback."""
    server = start_server(tmp_path / "data", "--base-path", "/elsewhere/files/")
    settings = {"SERVER__HOST": host, "SERVER__PORT": str(server.port), "SERVER__BASE_PATH": "/elsewhere/files/"}
    try:
        done = check(tmp_path, **settings)
        assert 0 == done.returncode, done.stderr
        assert f":{server.port}/healthz\n" == done.stdout[-len(f":{server.port}/healthz\n") :]
        assert 0 == check(tmp_path, "--host", host, "--port", str(server.port)).returncode
    finally:
        server.stop()
    done = check(tmp_path, **settings)
    assert 1 == done.returncode
    assert done.stderr.startswith("tusd-py: http://")
    assert done.stderr.endswith("cannot be reached: Connection refused\n")
    assert 1 == done.stderr.count("\n")


def test_healthy_server_over_tls_exits_0(tmp_path: Path) -> None:
    """The name and the signer of the certificate do not matter; a port without TLS is not healthy."""
    certificate, key = make_certificate(tmp_path, "uploads.example.com")
    tls = {"SERVER__TLS_CERTIFICATE": str(certificate), "SERVER__TLS_KEY": str(key)}
    server = start_server(tmp_path / "data", settings=tls)
    plain = start_server(tmp_path / "other")
    try:
        done = check(tmp_path, SERVER__PORT=str(server.port), **tls)
        assert (0, f"healthy  https://127.0.0.1:{server.port}/healthz\n") == (done.returncode, done.stdout)
        assert 1 == check(tmp_path, SERVER__PORT=str(server.port)).returncode, "plain HTTP to a TLS port"
        assert 1 == check(tmp_path, SERVER__PORT=str(plain.port), **tls).returncode, "TLS to a plain port"
    finally:
        server.stop()
        plain.stop()


def test_healthy_server_on_a_unix_socket_exits_0(tmp_path: Path) -> None:
    """The command reads the path of the socket from the configuration file."""
    path = tmp_path / "tus.sock"
    (tmp_path / "config.toml").write_text(f'[server]\nunix_socket = "{path}"\n')
    command = [sys.executable, "-m", "tusd_py", "serve"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            assert server.stdout is not None and server.stdout.readline()
            done = check(tmp_path)
            assert (0, f"healthy  http://unix:{path}:/healthz\n") == (done.returncode, done.stdout)
        finally:
            server.terminate()
    assert 1 == check(tmp_path).returncode


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_server_that_hangs_exits_1(tmp_path: Path, scheme: str) -> None:
    """A server that accepts and never answers exits with 1 after two seconds and prints one sentence."""
    certificate, key = make_certificate(tmp_path)
    tls = {"SERVER__TLS_CERTIFICATE": str(certificate), "SERVER__TLS_KEY": str(key)} if scheme == "https" else {}
    with silent_listener() as port:
        began = time.monotonic()
        done = check(tmp_path, SERVER__PORT=str(port), **tls)
    assert time.monotonic() - began < 10
    assert 1 == done.returncode
    assert f"tusd-py: {scheme}://127.0.0.1:{port}/healthz did not answer within 2 s\n" == done.stderr


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "answered with status 503"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "closed the connection or answered something other than HTTP"),
        (b"", "closed the connection or answered something other than HTTP"),
    ],
)
def test_other_answers_than_200_exit_1(tmp_path: Path, answer: bytes, expected: str) -> None:
    """The sentence names the answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with subprocess.Popen([*CHECK, "--port", str(port)], cwd=tmp_path, stderr=subprocess.PIPE) as checking:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(answer)
            assert checking.stderr is not None
            output = checking.stderr.read().decode()
    assert 1 == checking.returncode
    assert f"tusd-py: http://127.0.0.1:{port}/healthz {expected}\n" == output


def test_invalid_settings_exit_2_and_port_0_exits_1(tmp_path: Path) -> None:
    """An unknown setting exits with 2. With port 0 the system chose the port, which has to be passed as a flag."""
    assert 2 == check(tmp_path, SERVER__PROT="1").returncode
    done = check(tmp_path, SERVER__PORT="0")
    assert 1 == done.returncode
    assert done.stderr.startswith("tusd-py: server.port is 0")


def test_shortcut_and_command_line_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shortcut for ``check --live`` and the command line have the same result, and ``--help`` lists the flag."""
    monkeypatch.chdir(tmp_path)
    with silent_listener() as port:
        pass
    done = check(tmp_path, "--port", str(port))
    result = CliRunner().invoke(app, ["check", "--live", "--port", str(port)])
    assert (done.returncode, done.stderr) == (result.exit_code, result.stderr)
    assert "--live" in CliRunner().invoke(app, ["check", "--help"]).output


def test_check_does_not_import_the_server(tmp_path: Path) -> None:
    """Containers run the check every few seconds, so it imports no ASGI application, database or HTTP client."""
    program = (
        "import sys\n"
        "from tusd_py.__main__ import main\n"
        "sys.argv = ['tusd-py', 'check', '--live', '--port', '0']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    print(end.code, sorted({'starlette', 'uvicorn', 'sqlalchemy', 'httpcore2'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert "1 []\n" == done.stdout, done.stderr
