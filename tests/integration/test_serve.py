"""``tusd-py serve`` as a process: where it listens, how it stops, and its sentences when it cannot start."""

from __future__ import annotations

import http.client
import json
import os
import re
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
    """Wait until ``condition()`` holds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        time.sleep(0.02)


def status(port: int, path: str = "/healthz") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def refused(*arguments: str, cwd: Path, **environ: str) -> str:
    """Run ``serve``, which must exit with 2 and without a traceback; return its standard error."""
    environment = os.environ | {f"TUSD_PY_{name}": value for name, value in environ.items()}
    process = subprocess.run([*SERVE, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=30)
    assert 2 == process.returncode, process.stderr
    assert "" == process.stdout
    assert "Traceback" not in process.stderr
    return process.stderr


def children_of(pid: int) -> dict[int, str]:
    """The running children of a process, with their commands."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid and state != "Z":
            found[int(folder.name)] = command.decode()
    return found


def template_of(server: RunningServer) -> int:
    """The process that the server processes are forked from."""
    return next((pid for pid, command in children_of(server.process.pid).items() if "forkserver" in command), 0)


def processes_of(server: RunningServer) -> set[int]:
    """The ids of the server processes."""
    template = template_of(server)
    return set(children_of(template)) if template else set()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Starts servers with their data in ``tmp_path`` and kills them after the test."""
    servers: list[RunningServer] = []

    def start(*flags: str, **settings: str) -> RunningServer:
        servers.append(start_server(tmp_path / "data", *flags, settings=settings))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_signal_stops_with_exit_code_0(
    started: Callable[..., RunningServer], number: signal.Signals, processes: str
) -> None:
    """SIGTERM and SIGINT stop the server and all its processes with exit code 0."""
    server = started("--processes", processes)
    children = processes_of(server)
    assert 200 == status(server.port)
    server.process.send_signal(number)
    assert 0 == server.process.wait(DEADLINE_SECONDS)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("processes", ["1", "2"])
def test_signal_to_the_process_group_counts_once(started: Callable[..., RunningServer], processes: str) -> None:
    """A terminal signals the parent and its processes; the server still stops gracefully, with exit code 0."""
    server = started("--processes", processes)
    os.killpg(server.process.pid, signal.SIGINT)
    assert 0 == server.process.wait(DEADLINE_SECONDS)
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("processes", ["1", "2"])
def test_second_signal_stops_at_once_with_exit_code_1(started: Callable[..., RunningServer], processes: str) -> None:
    """While a download that the client does not read delays the shutdown, a second signal stops the server."""
    server = started("--processes", processes, SERVER__SHUTDOWN_TIMEOUT_SECONDS="60")
    with stalled_download(server):
        server.process.send_signal(signal.SIGTERM)
        until(lambda: "stopping" in server.log.read_text())
        time.sleep(0.3)  # not for luck: nothing may happen in this time
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert 1 == server.process.wait(DEADLINE_SECONDS)


def stalled_download(server: RunningServer) -> socket.socket:
    """A connection with a large download that the client does not read."""
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


def test_stalled_request_is_cancelled_at_shutdown(started: Callable[..., RunningServer]) -> None:
    """After ``server.shutdown_timeout_seconds`` requests are cancelled, and the server exits with 0."""
    server = started(SERVER__SHUTDOWN_TIMEOUT_SECONDS="0.5")
    with stalled_download(server):
        started_at = time.monotonic()
        assert 0 == server.stop()
        assert 0.5 <= time.monotonic() - started_at < 10
    assert "requests cancelled" in server.log.read_text()


def test_killed_server_process_is_replaced(started: Callable[..., RunningServer]) -> None:
    """A killed server process is replaced, and the server keeps answering."""
    server = started("--processes", "2")
    until(lambda: len(processes_of(server)) == 2)
    victim = min(processes_of(server))
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in processes_of(server) and len(processes_of(server)) == 2)
    assert re.search("server process [01] exited", server.log.read_text())
    assert 200 == status(server.port)
    assert 0 == server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each process is a new interpreter")
def test_server_processes_share_the_memory_of_a_template(started: Callable[..., RunningServer]) -> None:
    """It has one thread, so that a fork copies nothing half-way; most of a process's memory is shared with it."""
    server = started("--processes", "2")
    until(lambda: len(processes_of(server)) == 2)
    threads = re.search(r"^Threads:\s+(\d+)$", Path(f"/proc/{template_of(server)}/status").read_text(), re.M)
    assert threads is not None
    assert "1" == threads[1]
    for pid in processes_of(server):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        memory = {name: int(amount) for name, amount in re.findall(r"^(\w+):\s+(\d+) kB$", rollup, re.M)}
        assert 2 * (memory["Private_Clean"] + memory["Private_Dirty"]) < memory["Rss"]
    assert 0 == server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each process is a new interpreter")
def test_killed_template_is_replaced_with_its_processes(started: Callable[..., RunningServer]) -> None:
    """The server goes on answering; no process of the killed template is left."""
    server = started("--processes", "2")
    until(lambda: len(processes_of(server)) == 2)
    victims = {template_of(server), *processes_of(server)}
    os.kill(template_of(server), signal.SIGKILL)
    until(lambda: template_of(server) not in {0, *victims} and len(processes_of(server)) == 2)
    assert 200 == status(server.port)
    # Those that have ended are zombies until process 1, which has inherited them, collects them.
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in victims))
    assert 0 == server.stop()


def test_server_processes_stop_with_their_parent(started: Callable[..., RunningServer]) -> None:
    """When the parent is killed, its processes stop and close the port."""
    server = started("--processes", "2")
    until(lambda: len(processes_of(server)) == 2)
    children = processes_of(server)
    server.process.kill()
    server.process.wait()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


def test_metrics_are_summed_over_processes(started: Callable[..., RunningServer]) -> None:
    """Every server process reports the metrics of all."""
    server = started("--processes", "2")
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


def test_port_in_use(tmp_path: Path) -> None:
    """A port that another process listens on is reported in one sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refused("--port", str(port), "--data-dir", "d", cwd=tmp_path)
    assert f"tusd-py: cannot listen on 127.0.0.1 port {port}: address already in use" == error.splitlines()[-1]


def test_unwritable_data_dir(tmp_path: Path) -> None:
    """A data directory that cannot be created is reported in one sentence."""
    (tmp_path / "file").write_text("")
    error = refused("--port", "0", "--data-dir", "file/d", cwd=tmp_path)
    assert "tusd-py: storage.data_dir file/d cannot be written to: Not a directory\n" == error


@pytest.mark.parametrize("processes", ["1", "2"])
def test_file_in_place_of_a_directory(tmp_path: Path, processes: str) -> None:
    """A problem within the data directory is reported in one sentence, also by one of several server processes."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "uploads").write_text("")
    error = refused("--port", "0", "--data-dir", "d", "--processes", processes, cwd=tmp_path)
    assert error.splitlines()[-1].startswith("tusd-py: ")
    assert "uploads" in error.splitlines()[-1]


def test_missing_certificate(tmp_path: Path) -> None:
    """A certificate file that does not exist is reported in one sentence."""
    error = refused("--port", "0", "--tls-certificate", "c.pem", "--tls-key", "k.pem", cwd=tmp_path)
    assert "tusd-py: server.tls_certificate c.pem cannot be read: No such file or directory" == error.splitlines()[-1]


def test_unix_socket(tmp_path: Path, started: Callable[..., RunningServer]) -> None:
    """A unix socket is accessible to owner and group only; a stale one is replaced, and removed at exit."""
    path = tmp_path / "s"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    server = started("--unix-socket", str(path))
    assert "http://localhost/files/" == server.url
    assert 0o660 == stat.S_IMODE(path.stat().st_mode)
    assert b"200 OK" in request_over(path)
    error = refused("--unix-socket", str(path), "--data-dir", "other", cwd=tmp_path)
    assert f"tusd-py: cannot listen on the unix socket {path}: Address already in use" == error.splitlines()[-1]
    assert 0 == server.stop()
    assert not path.exists()


def request_over(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return client.makefile("rb").read()


@pytest.mark.parametrize("processes", ["1", "2"])
def test_certificate_makes_it_https(tmp_path: Path, started: Callable[..., RunningServer], processes: str) -> None:
    """With a certificate the server speaks TLS 1.2 or newer, and its printed URL is https."""
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    subprocess.run([*make, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    server = started("--tls-certificate", str(certificate), "--tls-key", str(key), "--processes", processes)
    assert server.url.startswith("https://127.0.0.1:")
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port)) as plain_http:
            plain_http.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP/1.1 200" not in plain_http.recv(100)
    context = ssl.create_default_context(cafile=str(certificate))
    with (
        socket.create_connection(("127.0.0.1", server.port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
    ):
        assert client.version() in ("TLSv1.2", "TLSv1.3")
        client.sendall(b"OPTIONS /files/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 204")
    assert_uploads_and_downloads(context, server)


def assert_uploads_and_downloads(context: ssl.SSLContext, server: RunningServer) -> None:
    """Encrypted bodies are not transferred by zero-copy, and are complete in both directions."""
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


def test_systemd_socket_activation(tmp_path: Path) -> None:
    """With LISTEN_FDS the server listens on descriptor 3 and notifies the service manager when it is ready."""
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(DEADLINE_SECONDS)
    with notify, socket.create_server(("127.0.0.1", 0)) as listener:
        # As systemd does it: the socket is descriptor 3, and LISTEN_PID is the process that gets it.
        added = "LISTEN_FDS='1', LISTEN_PID=str(os.getpid()), **os.environ"
        script = f"import os, sys; os.dup2({listener.fileno()}, 3); os.execve(sys.argv[1], sys.argv[1:], dict({added}))"
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


def test_missing_systemd_socket(tmp_path: Path) -> None:
    """With ``server.systemd_socket`` the server opens no other socket."""
    error = refused("--data-dir", "d", cwd=tmp_path, SERVER__SYSTEMD_SOCKET="true")
    expected = "tusd-py: server.systemd_socket is true, but systemd passed no socket"
    assert error.splitlines()[-1].startswith(expected)


def test_request_id_is_in_response_and_log(started: Callable[..., RunningServer]) -> None:
    """The client's request id is in the response and in the log; the query string is not in the log."""
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


@pytest.mark.parametrize("processes", ["1", "2"])
def test_connections_of_one_address_are_limited(started: Callable[..., RunningServer], processes: str) -> None:
    """10 to each process stay open; the refusals are in the metrics, and requests work once there is room."""
    server = started("--processes", processes, SERVER__CONNECTIONS_PER_ADDRESS_MAX="10")
    connections = [socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_SECONDS) for _ in range(60)]
    for connection in connections:
        connection.settimeout(0.5)
    is_open = []
    for connection in connections:
        try:
            # Closed with a response, or reset since the client sent nothing that the server has read.
            connection.recv(1)
            is_open.append(False)
        except TimeoutError:
            is_open.append(True)
        except ConnectionError:
            is_open.append(False)
    assert 10 <= is_open.count(True) <= 10 * int(processes)
    for connection in connections:
        connection.close()
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)

    def is_served() -> bool:
        client.close()
        try:
            client.request("GET", "/metrics")
            return client.getresponse().status == 200
        except OSError:
            return False  # not every connection has ended yet

    until(is_served)
    client.close()
    client.request("GET", "/metrics")
    metrics = client.getresponse().read().decode()
    client.close()
    assert float(re.findall(r"^tusd_py_connections_refused_total (\S+)", metrics, re.MULTILINE)[0]) >= 40
