"""What proxies break, through each of them: interim responses, trailers, and refusals before the end of a body."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import node
from tests.support.client import TUS, Answer, Connection, create, patch_headers, request
from tests.support.content import MIB, content
from tests.support.draft import ALL_VERSIONS
from tests.support.proxies import PROXIES, running_proxy
from tests.support.samples import HTML
from tests.support.server import RunningServer, start_server

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

BODY_BYTES = 30 * MIB
RULES = [{"types": ["image/*"], "allowed_types": ["image/*"], "type_agrees": True}]


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {
        "SERVER__TRUSTED_PROXIES": "127.0.0.1",
        "SERVER__REFUSAL_READ_BYTES_MAX": "64MiB",
        "VALIDATION__EARLY": "true",
        "VALIDATION__RULES": json.dumps(RULES),
    }
    server = start_server(tmp_path_factory.mktemp("upstream") / "data", settings=settings)
    yield server
    server.stop()


@pytest.fixture(scope="module", params=PROXIES)
def endpoint(
    request: pytest.FixtureRequest, upstream: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with running_proxy(request.param, upstream.port, tmp_path_factory.mktemp(request.param)) as proxy:
        yield proxy.endpoint


def named(version: int, *, completes: bool) -> dict[str, str]:
    """The headers that name the version and whether the request has the last bytes."""
    name = "Upload-Complete" if version > 3 else "Upload-Incomplete"
    return {"Upload-Draft-Interop-Version": str(version), name: "?1" if completes is (version > 3) else "?0"}


@pytest.mark.parametrize("version", ALL_VERSIONS)
@pytest.mark.anyio
async def test_draft_creation_has_one_response_201(endpoint: str, upstream: RunningServer, version: int) -> None:
    """No 104 comes through a proxy, and the final response has the URL of the proxy."""
    data = bytes(content(70, MIB))
    connection = await Connection.open(endpoint)
    headers = {**named(version, completes=True), "Content-Length": str(len(data))}
    await connection.send_head("POST", endpoint, headers)
    await connection.send(data)
    whole = await connection.answer(interim=True)
    connection.close()
    assert whole.status == 201
    assert whole.headers["location"].startswith(endpoint)
    assert upstream.stored(whole.headers["location"]) == data


@pytest.mark.anyio
async def test_checksum_trailer_is_not_offered(endpoint: str) -> None:
    """OPTIONS names the extensions that work."""
    names = (await request("OPTIONS", endpoint, {})).headers["tus-extension"].split(",")
    assert ("checksum-trailer" in names, "checksum" in names) == (False, True)


@pytest.mark.anyio
async def test_long_metadata_200(endpoint: str) -> None:
    """HEAD of an upload with 8 KiB of metadata is 200."""
    value = "filename " + "QUFB" * 2045
    headers = {**TUS, "Upload-Length": "3", "Upload-Metadata": value}
    created = await request("POST", endpoint, headers, b"")
    assert created.status == 201
    head = await request("HEAD", created.headers["location"])
    assert (head.status, head.headers["upload-metadata"]) == (200, value)


@pytest.fixture(scope="module", params=PROXIES)
def default_endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a server that reads nothing before it refuses a request."""
    directory = tmp_path_factory.mktemp(request.param)
    settings = {"SERVER__TRUSTED_PROXIES": "127.0.0.1", "VALIDATION__EARLY": "true"}
    server = start_server(directory / "data", settings={**settings, "VALIDATION__RULES": json.dumps(RULES)})
    try:
        with running_proxy(request.param, server.port, directory / "proxy") as proxy:
            yield proxy.endpoint
    finally:
        server.stop()


def test_tus_js_client_in_chunks_learns_the_reason(default_endpoint: str, tmp_path: Path) -> None:
    """tus-js-client with chunks of 1 MiB creates one upload and reports the 415."""
    file = tmp_path / "page.png"
    file.write_bytes(HTML + bytes(BODY_BYTES))
    options = {"chunkSize": MIB, "retryDelays": [100, 100, 100], "metadata": {"filetype": "image/png"}}
    outcome = node.upload(endpoint=default_endpoint, file=str(file), options=options)
    assert outcome.error is not None
    assert "response code: 415" in outcome.error
    assert len(outcome.of("POST")) == 1


async def large_patch(url: str, first: bytes) -> Answer:
    return await request("PATCH", url, patch_headers(0), first + bytes(BODY_BYTES - len(first)))


@pytest.mark.anyio
async def test_refusal_of_a_large_body_arrives_413(endpoint: str) -> None:
    """With ``server.refusal_read_bytes_max`` a client that sends its whole body first gets the refusal."""
    url = await create(endpoint, 10)
    for _ in range(3):
        assert (await large_patch(url, b"")).status == 413


@pytest.mark.anyio
async def test_early_rejection_is_learned_415(endpoint: str) -> None:
    """The reason arrives with the first request; HEAD is 200 afterwards, and a smaller request gets the same reason."""
    url = await create(endpoint, BODY_BYTES, {**TUS, "Upload-Metadata": "filetype aW1hZ2UvcG5n"})
    first = await large_patch(url, HTML)
    assert (first.status, first.body.partition(b":")[0]) == (415, b"ERR_TYPE_NOT_ALLOWED")
    head = await request("HEAD", url)
    assert (head.status, head.offset) == (200, 0)
    again = await request("PATCH", url, patch_headers(0), HTML)
    assert (again.status, again.body) == (415, first.body)


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_head_while_the_server_is_away_423(name: str, tmp_path: Path) -> None:
    """Clients begin an upload anew when HEAD is answered 502 or 503: while nothing listens it is 423, others 503."""
    server = start_server(tmp_path / "data", settings={"SERVER__TRUSTED_PROXIES": "127.0.0.1"})
    with running_proxy(name, server.port, tmp_path / name) as proxy:
        try:
            location = asyncio.run(create(proxy.endpoint, 3))
        finally:
            server.stop()
        head = asyncio.run(request("HEAD", location, TUS))
        assert (423, "1") == (head.status, head.headers["retry-after"])
        assert 503 == asyncio.run(request("PATCH", location, patch_headers(0), b"abc")).status
