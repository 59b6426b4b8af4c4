"""A client that is sending 30 MB can read a refusal: Python's http.client, curl and Node."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.programs import find_program
from tests.support.server import RunningServer, start_server

BODY_BYTES = 30 * 1000 * 1000
HEADERS = {
    "Tus-Resumable": "1.0.0",
    "Upload-Offset": "0",
    "Content-Type": "application/offset+octet-stream",
    "Content-Length": str(BODY_BYTES),
}
TRIES = 3

NODE = """
const http = require('http');
const [url, headers, count] = [process.argv[1], JSON.parse(process.argv[2]), Number(process.argv[3])];
const request = http.request(url, { method: 'PATCH', headers, agent: false });
request.on('response', (response) => { console.log(response.statusCode); process.exit(0); });
request.on('error', (error) => { console.log(error.code); process.exit(1); });
const piece = Buffer.alloc(65536);
let left = count;
const pump = () => {
  while (left > 0) {
    left -= piece.length;
    if (!request.write(piece)) { request.once('drain', pump); return; }
  }
  request.end();
};
pump();
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start_server(tmp_path_factory.mktemp("refusals") / "data")
    yield running
    running.stop()


@pytest.fixture
def small(server: RunningServer) -> str:
    """The URL of an upload of ten bytes: a request with 30 MB is refused with 413 by its head."""
    host = urlsplit(server.url).netloc
    connection = http.client.HTTPConnection(host, timeout=20)
    connection.request("POST", "/files/", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "10"})
    created = connection.getresponse()
    location = created.headers["Location"]
    connection.close()
    return f"http://{host}{urlsplit(location).path}"


def by_http_client(url: str, folder: Path) -> str:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.putrequest("PATCH", urlsplit(url).path)
        for name, value in HEADERS.items():
            connection.putheader(name, value)
        connection.endheaders()
        try:
            for _ in range(BODY_BYTES // 100_000):
                connection.send(b"x" * 100_000)
        except ConnectionError:
            pass  # like urllib3, read the response after a failed send
        return str(connection.getresponse().status)
    finally:
        connection.close()


def by_curl(url: str, folder: Path) -> str:
    body = folder / "body"
    with body.open("wb") as file:
        file.truncate(BODY_BYTES)
    # Without Expect: curl would wait for 100 Continue and send nothing.
    command = ["curl", "-sS", "-X", "PATCH", "-H", "Expect:", "--data-binary", f"@{body}", "-w", "%{http_code}"]
    command += [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
    return subprocess.run(
        [*command, "-o", str(folder / "answer"), url], capture_output=True, timeout=30
    ).stdout.decode()


def by_node(url: str, folder: Path) -> str:
    command = ["node", "-e", NODE, url, json.dumps(HEADERS), str(BODY_BYTES)]
    return subprocess.run(command, capture_output=True, timeout=30).stdout.decode().strip()


@pytest.mark.parametrize("client", [by_http_client, by_curl, by_node])
def test_refusal_during_a_body_is_readable_413(small: str, tmp_path: Path, client: Callable[[str, Path], str]) -> None:
    """Each client reads 413 every time, and the server keeps running."""
    program = client.__name__.removeprefix("by_")
    if program in ("curl", "node"):
        find_program(program, f"{program} is not installed")
    assert ["413"] * TRIES == [client(small, tmp_path) for _ in range(TRIES)]
