"""``tusd-py serve`` as a process: where it listens, how it ends, and what it says when it cannot serve."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.content import MIB, content
from tests.support.server import RunningServer, start_server

SERVE = [sys.executable, "-m", "tusd_py", "serve"]
DEADLINE_SECONDS = 20.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for what must become true."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.02)


def status(port: int, path: str = "/healthz") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def refused(*arguments: str, cwd: Path, **environ: str) -> str:
    """What ``serve`` says when it cannot; the exit code is 2 and there is no traceback."""
    given = os.environ | {f"TUSD_PY_{name}": value for name, value in environ.items()}
    process = subprocess.run([*SERVE, *arguments], cwd=cwd, env=given, capture_output=True, text=True, timeout=30)
    assert 2 == process.returncode, process.stderr
    assert "" == process.stdout
    assert "Traceback" not in process.stderr
    return process.stderr


def workers_of(server: RunningServer) -> set[int]:
    """The processes that serve for ``server``: its children but the one that only keeps count of resources."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == server.process.pid and b"spawn_main" in command:
            found.add(int(folder.name))
    return found


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Starts servers over ``tmp_path`` and sees that none is left."""
    servers: list[RunningServer] = []

    def start(*flags: str, **settings: str) -> RunningServer:
        servers.append(start_server(tmp_path / "data", *flags, settings=settings))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_ends_it_well(started: Callable[..., RunningServer], number: signal.Signals, workers: str) -> None:
    """SIGTERM and SIGINT end the server with exit code 0, leaving no process behind."""
    server = started("--workers", workers)
    children = workers_of(server)
    assert 200 == status(server.port)
    server.process.send_signal(number)
    assert 0 == server.process.wait(DEADLINE_SECONDS)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_to_the_whole_group_is_one_signal(started: Callable[..., RunningServer], workers: str) -> None:
    """A terminal signals parent and workers alike; that is still one request to end, and the exit code 0."""
    server = started("--workers", workers)
    os.killpg(server.process.pid, signal.SIGINT)
    assert 0 == server.process.wait(DEADLINE_SECONDS)
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_ends_it_at_once(started: Callable[..., RunningServer], workers: str) -> None:
    """While a download that nobody reads holds up the end, a second signal ends the server with exit code 1."""
    server = started("--workers", workers, SERVER__SHUTDOWN_TIMEOUT_SECONDS="60")
    with held_download(server):
        server.process.send_signal(signal.SIGTERM)
        until(lambda: "stopping" in server.log.read_text())
        time.sleep(0.3)  # not for luck: nothing may happen in this time
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert 1 == server.process.wait(DEADLINE_SECONDS)


def held_download(server: RunningServer) -> socket.socket:
    """A connection on which a large download has begun that nobody reads."""
    size = 64 * 1024 * 1024
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Length": str(size),
        "Content-Type": "application/offset+octet-stream",
    }
    connection.request("POST", "/files/", bytes(size), headers)
    answer = connection.getresponse()
    assert 201 == answer.status, answer.read()
    connection.close()
    reader = socket.create_connection(("127.0.0.1", server.port))
    reader.sendall(f"GET {answer.headers['Location']} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert reader.recv(1024).startswith(b"HTTP/1.1 200")
    return reader


def test_a_request_that_will_not_end_is_cut(started: Callable[..., RunningServer]) -> None:
    """After the time for shutting down what still runs is ended, and the server with it, with exit code 0."""
    server = started(SERVER__SHUTDOWN_TIMEOUT_SECONDS="0.5")
    with held_download(server):
        began = time.monotonic()
        assert 0 == server.stop()
        assert 0.5 <= time.monotonic() - began < 10
    assert "requests cancelled" in server.log.read_text()


def test_a_dead_worker_is_replaced(started: Callable[..., RunningServer]) -> None:
    """A worker that is killed is replaced, and the server answers all the while."""
    server = started("--workers", "2")
    until(lambda: len(workers_of(server)) == 2)
    victim = min(workers_of(server))
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in workers_of(server) and len(workers_of(server)) == 2)
    assert 200 == status(server.port)
    assert 0 == server.stop()


def test_workers_end_with_their_parent(started: Callable[..., RunningServer]) -> None:
    """When the parent is killed its workers stop by themselves and free the port."""
    server = started("--workers", "2")
    until(lambda: len(workers_of(server)) == 2)
    children = workers_of(server)
    server.process.kill()
    server.process.wait()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


def test_counts_of_all_workers_are_added_up(started: Callable[..., RunningServer]) -> None:
    """Whichever worker is asked for metrics tells those of all."""
    server = started("--workers", "2")
    for _ in range(20):
        status(server.port, "/files/none")
    counted = set()
    for _ in range(10):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        counted |= {line for line in lines if line.startswith('tusd_requests_total{method="GET"}')}
    assert {'tusd_requests_total{method="GET"} 20.0'} == counted


def test_a_busy_port_is_a_sentence(tmp_path: Path) -> None:
    """A port that another program has is told in one sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused("--port", str(port), "--data-dir", "d", cwd=tmp_path)
    assert f"tusd-py: cannot listen on 127.0.0.1 port {port}: address already in use" == said.splitlines()[-1]


def test_an_unwritable_directory_is_a_sentence(tmp_path: Path) -> None:
    """A data directory that cannot be made is told in one sentence."""
    (tmp_path / "file").write_text("")
    said = refused("--port", "0", "--data-dir", "file/d", cwd=tmp_path)
    assert "tusd-py: storage.data_dir file/d cannot be written to: Not a directory\n" == said


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_file_in_the_place_of_a_directory_is_a_sentence(tmp_path: Path, workers: str) -> None:
    """What goes wrong within the data directory is told in one sentence too, also by a worker process."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "uploads").write_text("")
    said = refused("--port", "0", "--data-dir", "d", "--workers", workers, cwd=tmp_path)
    assert said.splitlines()[-1].startswith("tusd-py: ")
    assert "uploads" in said.splitlines()[-1]


def test_a_missing_certificate_is_a_sentence(tmp_path: Path) -> None:
    """A certificate that is not there is told in one sentence."""
    said = refused("--port", "0", "--tls-certificate", "c.pem", "--tls-key", "k.pem", cwd=tmp_path)
    assert "tusd-py: server.tls_certificate c.pem cannot be read: No such file or directory" == said.splitlines()[-1]


def test_a_unix_socket(tmp_path: Path, started: Callable[..., RunningServer]) -> None:
    """The server listens on a unix socket for owner and group only, replaces a stale one and removes its own."""
    path = tmp_path / "s"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    server = started("--unix-socket", str(path))
    assert f"http://unix:{path}:/files/" == server.url
    assert 0o660 == stat.S_IMODE(path.stat().st_mode)
    assert b"200 OK" in asked(path)
    said = refused("--unix-socket", str(path), "--data-dir", "other", cwd=tmp_path)
    assert f"tusd-py: cannot listen on the unix socket {path}: Address already in use" == said.splitlines()[-1]
    assert 0 == server.stop()
    assert not path.exists()


def asked(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return client.makefile("rb").read()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_https(tmp_path: Path, started: Callable[..., RunningServer], workers: str) -> None:
    """With a certificate the server speaks TLS 1.2 or newer, and says so in its address."""
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    subprocess.run([*make, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    server = started("--tls-certificate", str(certificate), "--tls-key", str(key), "--workers", workers)
    assert server.url.startswith("https://127.0.0.1:")
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port)) as confused:
            confused.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP/1.1 200" not in confused.recv(100)
    context = ssl.create_default_context(cafile=str(certificate))
    with (
        socket.create_connection(("127.0.0.1", server.port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
    ):
        assert client.version() in ("TLSv1.2", "TLSv1.3")
        client.sendall(b"OPTIONS /files/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 204")
    assert_there_and_back(context, server)


def assert_there_and_back(context: ssl.SSLContext, server: RunningServer) -> None:
    """Bytes that are encrypted cannot go past the server, and come whole all the same."""
    data = bytes(content(21, 5 * MIB))
    client = http.client.HTTPSConnection("127.0.0.1", server.port, context=context)
    tus = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
    client.request("POST", "/files/", data, {**tus, "Upload-Length": str(len(data))})
    created = client.getresponse()
    assert (created.status, created.read()) == (201, b"")
    client.request("GET", created.headers["Location"])
    assert client.getresponse().read() == data
    client.request("GET", "/metrics")
    counts = client.getresponse().read()
    assert b"tusd_py_zero_copy_received_bytes_total 0.0" in counts
    assert b"tusd_py_zero_copy_sent_bytes_total 0.0" in counts
    client.close()


def test_the_socket_that_systemd_hands_over(tmp_path: Path) -> None:
    """With LISTEN_FDS the server serves on descriptor 3, and tells the service manager when it is ready."""
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(DEADLINE_SECONDS)
    with notify, socket.create_server(("127.0.0.1", 0)) as listener:
        # What systemd does: the socket becomes descriptor 3, and LISTEN_PID is the process that gets it.
        given = "LISTEN_FDS='1', LISTEN_PID=str(os.getpid()), **os.environ"
        script = f"import os, sys; os.dup2({listener.fileno()}, 3); os.execve(sys.argv[1], sys.argv[1:], dict({given}))"
        environ = os.environ | {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "TUSD_PY_SERVER__SYSTEMD_SOCKET": "true",
            "TUSD_PY_STORAGE__DATA_DIR": str(tmp_path / "d"),
        }
        process = subprocess.Popen(
            [sys.executable, "-c", script, *SERVE],
            pass_fds=[listener.fileno()],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            assert b"READY=1" == notify.recv(100)
            assert 200 == status(listener.getsockname()[1])
        finally:
            process.terminate()
            process.communicate(timeout=DEADLINE_SECONDS)
    assert 0 == process.returncode


def test_without_a_socket_from_systemd_it_does_not_serve(tmp_path: Path) -> None:
    """Asked to take systemd's socket, the server takes no other."""
    said = refused("--data-dir", "d", cwd=tmp_path, SERVER__SYSTEMD_SOCKET="true")
    expected = "tusd-py: server.systemd_socket is true, but systemd handed over no socket"
    assert said.splitlines()[-1].startswith(expected)


def test_every_line_about_a_request_bears_its_id(started: Callable[..., RunningServer]) -> None:
    """The id a client gives comes back in the answer and stands in the log, the query does not."""
    server = started("--log-format", "json")
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request(
        "HEAD", "/files/none?ticket=hunter2", headers={"Tus-Resumable": "1.0.0", "X-Request-ID": "my-id.1"}
    )
    answer = connection.getresponse()
    connection.close()
    assert (404, "my-id.1") == (answer.status, answer.headers["X-Request-ID"])
    until(lambda: "ERR_UPLOAD_NOT_FOUND" in server.log.read_text())
    (line,) = [line for line in map(json.loads, server.log.read_text().splitlines()) if line.get("status") == 404]
    assert ("my-id.1", "ERR_UPLOAD_NOT_FOUND") == (line["request_id"], line["code"])
    assert "hunter2" not in server.log.read_text()
