"""The server behind a real nginx with the configuration of docs/operations.md."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import Connection, create, patch_headers, request
from tests.support.content import MIB, content
from tests.support.server import RunningServer, start_server
from tests.support.waiting import until_now

ROOT = Path(__file__).parents[2]
#: Debian installs it in a directory that is not on the path of every user.
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

pytestmark = pytest.mark.skipif(
    NGINX is None and not os.environ.get("CI"), reason="nginx is not installed (Debian: apt-get install nginx-light)"
)


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    # The setting that docs/operations.md requires with that configuration.
    settings = {"SERVER__TRUSTED_PROXIES": "127.0.0.1"}
    server = start_server(tmp_path_factory.mktemp("upstream") / "data", settings=settings)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def endpoint(upstream: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tus endpoint as nginx serves it, with the ``location`` of the docs."""
    assert NGINX is not None, "nginx is missing"
    (location,) = re.findall(r"^```nginx\n(.*?)^```", (ROOT / "docs" / "operations.md").read_text(), re.M | re.S)
    directory = tmp_path_factory.mktemp("nginx")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    places = "".join(
        f"{name}_temp_path {directory}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {directory}/pid;\nerror_log {directory}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log {directory}/access.log;\n{places}"
        f"server {{\nlisten 127.0.0.1:{port};\n"
        f"{location.replace('http://127.0.0.1:8080', upstream.root)}}}\n}}\n"
    )
    command = [NGINX, "-e", f"{directory}/error.log", "-c", f"{directory}/nginx.conf"]
    with subprocess.Popen(command) as process:
        try:
            until_now(lambda: accepts_connections(port), "nginx accepts connections")
            yield f"http://127.0.0.1:{port}/files/"
        finally:
            process.terminate()


def accepts_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.anyio
async def test_tus_through_nginx(endpoint: str, upstream: RunningServer) -> None:
    """Location has the address of nginx, and an upload in two requests is stored completely."""
    data = bytes(content(40, 2 * MIB))
    location = await create(endpoint, len(data))
    assert location.startswith(endpoint)
    assert (await request("PATCH", location, patch_headers(0), data[:MIB])).status == 204
    assert (await request("PATCH", location, patch_headers(MIB), data[MIB:])).status == 204
    assert data == upstream.stored(location)


@pytest.mark.parametrize("version", [3, 5, 6, 8, 9])
@pytest.mark.anyio
async def test_the_draft_through_nginx(endpoint: str, upstream: RunningServer, version: int) -> None:
    """A creation gets one final response; a creation without content is continued by an append."""
    data = bytes(content(41, MIB))
    is_old = version < 5
    draft = {"Upload-Draft-Interop-Version": str(version)}
    incomplete = {"Upload-Incomplete": "?1"} if is_old else {"Upload-Complete": "?0"}
    complete = {"Upload-Incomplete": "?0"} if is_old else {"Upload-Complete": "?1"}
    connection = await Connection.open(endpoint)
    await connection.send_head("POST", endpoint, {**draft, **complete, "Content-Length": str(len(data))})
    await connection.send(data)
    whole = await connection.answer(interim=True)
    connection.close()
    assert 201 == whole.status, "the first answer is the final one"
    assert data == upstream.stored(whole.headers["location"])
    begun = await request("POST", endpoint, {**draft, **incomplete}, b"")
    assert 201 == begun.status
    location = begun.headers["location"]
    media = {} if version < 6 else {"Content-Type": "application/partial-upload"}
    appended = await request("PATCH", location, {**draft, **complete, **media, "Upload-Offset": "0"}, data)
    assert appended.status in (200, 201, 204), appended
    assert data == upstream.stored(location)
