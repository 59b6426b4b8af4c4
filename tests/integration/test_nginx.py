"""The server behind a real nginx with the configuration of docs/proxies.md."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import TUS, Connection, create, patch_headers, request
from tests.support.content import MIB, content
from tests.support.draft import ALL_VERSIONS
from tests.support.programs import find_program
from tests.support.proxies import RunningProxy, running_proxy
from tests.support.server import RunningServer, start_server


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    # The setting that docs/proxies.md requires with that configuration.
    settings = {"SERVER__TRUSTED_PROXIES": "127.0.0.1"}
    server = start_server(tmp_path_factory.mktemp("upstream") / "data", settings=settings)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def nginx(upstream: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    with running_proxy("nginx", upstream.port, tmp_path_factory.mktemp("nginx")) as running:
        yield running


@pytest.fixture
def endpoint(nginx: RunningProxy) -> str:
    return nginx.endpoint


@pytest.mark.anyio
async def test_tus_through_nginx(endpoint: str, upstream: RunningServer) -> None:
    """Location has the address of nginx, and an upload in two requests is stored completely."""
    data = bytes(content(40, 2 * MIB))
    location = await create(endpoint, len(data))
    assert location.startswith(endpoint)
    assert (await request("PATCH", location, patch_headers(0), data[:MIB])).status == 204
    assert (await request("PATCH", location, patch_headers(MIB), data[MIB:])).status == 204
    assert data == upstream.stored(location)


@pytest.mark.parametrize("length", [3000, 8192])
@pytest.mark.anyio
async def test_long_metadata_through_nginx(endpoint: str, length: int) -> None:
    """HEAD of an upload with as much metadata as the server accepts is 200: a 502 makes clients start over."""
    metadata = "filename " + "QUFB" * ((length - len("filename ")) // 4)
    created = await request("POST", endpoint, {**TUS, "Upload-Length": "3", "Upload-Metadata": metadata}, b"")
    assert created.status == 201
    location = created.headers["location"]
    assert (await request("PATCH", location, patch_headers(0), b"abc")).status == 204
    for origin in ({}, {"Origin": "https://u.example"}):
        head = await request("HEAD", location, {**TUS, **origin})
        assert (head.status, head.headers["upload-metadata"]) == (200, metadata)


@pytest.mark.anyio
async def test_what_nginx_breaks_is_not_offered(endpoint: str, upstream: RunningServer) -> None:
    """OPTIONS through nginx does not name checksum-trailer; directly it does."""
    through, direct = await request("OPTIONS", endpoint, {}), await request("OPTIONS", upstream.url, {})
    assert "checksum-trailer" not in through.headers["tus-extension"]
    assert "checksum-trailer" in direct.headers["tus-extension"]


def draft_headers(version: int, *, completes: bool) -> dict[str, str]:
    """The headers that name the version and whether the request has the last bytes."""
    name = "Upload-Complete" if version > 3 else "Upload-Incomplete"
    return {"Upload-Draft-Interop-Version": str(version), name: "?1" if completes is (version > 3) else "?0"}


@pytest.mark.parametrize("version", ALL_VERSIONS)
@pytest.mark.anyio
async def test_the_draft_through_nginx(endpoint: str, upstream: RunningServer, version: int) -> None:
    """A creation gets one final response; a creation without content is continued by an append."""
    data = bytes(content(41, MIB))
    connection = await Connection.open(endpoint)
    complete = draft_headers(version, completes=True)
    await connection.send_head("POST", endpoint, {**complete, "Content-Length": str(len(data))})
    await connection.send(data)
    whole = await connection.answer(interim=True)
    connection.close()
    assert 201 == whole.status, "the first answer is the final one"
    assert data == upstream.stored(whole.headers["location"])
    begun = await request("POST", endpoint, draft_headers(version, completes=False), b"")
    assert 201 == begun.status
    location = begun.headers["location"]
    media = {} if version < 6 else {"Content-Type": "application/partial-upload"}
    appended = await request("PATCH", location, {**complete, **media, "Upload-Offset": "0"}, data)
    assert appended.status in (200, 201, 204), appended
    assert data == upstream.stored(location)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_the_draft_over_http2_through_nginx(
    nginx: RunningProxy, upstream: RunningServer, version: int, tmp_path: Path
) -> None:
    """A client that speaks HTTP/2 with nginx gets the final response of an upload in one request."""
    curl = find_program("curl", "curl is not installed (Debian: apt-get install curl)")
    source = tmp_path / "source"
    source.write_bytes(content(42, MIB))
    headers = [f"-H{name}: {value}" for name, value in draft_headers(version, completes=True).items()]
    command = [curl, "-s", "-i", "--http2-prior-knowledge", "--unix-socket", str(nginx.directory / "http2")]
    run = subprocess.run(
        [*command, *headers, "--data-binary", f"@{source}", nginx.endpoint], capture_output=True, text=True, timeout=30
    )
    assert re.findall(r"^HTTP/2 (\d+)", run.stdout, re.M) == ["201"], run
    (location,) = re.findall(r"^location: (\S+)", run.stdout, re.M)
    assert source.read_bytes() == upstream.stored(location)
