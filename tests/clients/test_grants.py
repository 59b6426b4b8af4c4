"""Real clients with upload links and access codes: they need no change, only a URL or a token."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tusclient.client import TusClient

from tests.support import node
from tests.support.content import MIB, content
from tests.support.grants import made, redeemed, start
from tests.support.server import RunningServer

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start(tmp_path_factory.mktemp("grants") / "data")
    yield running
    running.stop()


def link(server: RunningServer, **terms: int) -> str:
    return str(asyncio.run(made(server, "upload-links", **dict[str, Any](terms)))["url"])


def stored(server: RunningServer, url: str) -> bytes:
    return server.stored(url.partition("?")[0])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(content(41, 8 * MIB + 3))
    return path


def test_tus_js_client_with_a_link_as_endpoint(server: RunningServer, source: Path) -> None:
    """The link stands in place of the endpoint: POST, then PATCHes to the URL in Location, without credentials."""
    url = link(server, length_max=16 * MIB)
    outcome = node.upload(
        endpoint=url, file=str(source), options={"chunkSize": 4 * MIB, "metadata": {"filename": "a.bin"}}
    )
    assert outcome.error is None
    assert outcome.methods() == ["POST", "PATCH", "PATCH", "PATCH"]
    assert outcome.url == url
    assert stored(server, url) == source.read_bytes()


def test_tus_js_client_with_a_link_as_upload_url(server: RunningServer, source: Path) -> None:
    """As ``uploadUrl`` it begins with HEAD; a length that was not known is declared by the last PATCH."""
    known, unknown = link(server, length=8 * MIB + 3), link(server, length_max=16 * MIB)
    options = {"uploadUrl": known, "chunkSize": 4 * MIB}
    outcomes = [node.upload(endpoint=server.url, file=str(source), options=options)]
    deferred = {"uploadUrl": unknown, "chunkSize": 4 * MIB, "uploadLengthDeferred": True}
    outcomes.append(node.upload(endpoint=server.url, file=str(source), stream=True, options=deferred))
    for outcome, url in zip(outcomes, (known, unknown), strict=True):
        assert outcome.error is None
        assert outcome.methods() == ["HEAD", "PATCH", "PATCH", "PATCH"]
        assert stored(server, url) == source.read_bytes()


def test_tus_js_client_sends_data_with_the_creation(server: RunningServer, source: Path) -> None:
    """``uploadDataDuringCreation`` works with a link too; a second file by the same link is refused."""
    url = link(server, length_max=16 * MIB)
    options = {"uploadDataDuringCreation": True}
    outcome = node.upload(endpoint=url, file=str(source), options=options)
    assert outcome.error is None
    assert stored(server, url) == source.read_bytes()
    again = node.upload(endpoint=url, file=str(source), options=options)
    assert again.error is not None and "ERR_LINK_FILLED" in str(again.error)


def test_tus_js_client_resumes_by_a_link(server: RunningServer, source: Path, tmp_path: Path) -> None:
    """After an abort a second process finds the URL of the link in its storage, and sends only the rest."""
    url = link(server, length_max=16 * MIB)
    common: dict[str, Any] = {
        "endpoint": url,
        "file": str(source),
        "storage": str(tmp_path / "urls.json"),
        "options": {"chunkSize": 2 * MIB},
    }
    aborted = node.upload(**common, abortAfter=4 * MIB)
    resumed = node.upload(**common)
    assert (aborted.error, resumed.error, resumed.previous) == (None, None, 1)
    assert resumed.methods()[0] == "HEAD" and "POST" not in resumed.methods()
    assert stored(server, url) == source.read_bytes()


def test_tuspy_with_a_link(server: RunningServer, source: Path) -> None:
    """tuspy uses a link as the address of its client, or of its uploader."""
    data = source.read_bytes()
    url = link(server, length_max=16 * MIB)
    uploader = TusClient(url).uploader(str(source), chunk_size=4 * MIB)
    uploader.upload()
    assert stored(server, url) == data
    known = link(server, length=len(data))
    TusClient(server.url).uploader(str(source), chunk_size=4 * MIB, url=known).upload()
    assert stored(server, known) == data


def test_tus_js_client_with_a_code(server: RunningServer, source: Path) -> None:
    """The token of a redeemed code is a bearer token like any other, also for a parallel upload."""
    code = asyncio.run(made(server, "codes", files_max=2, bytes_max=20 * MIB))
    bearer = asyncio.run(redeemed(server, code["code"]))["Authorization"].removeprefix("Bearer ")
    for options in ({"chunkSize": 4 * MIB}, {"parallelUploads": 2}):
        outcome = node.upload(endpoint=server.url, file=str(source), options=options, tokens=[bearer])
        assert outcome.error is None
        assert stored(server, outcome.url) == source.read_bytes()
    refused = node.upload(endpoint=server.url, file=str(source), options={}, tokens=[bearer])
    assert refused.error is not None and "ERR_CODE_LIMIT" in str(refused.error)
