"""tus-js-client in its modes for the IETF draft, alone and alternating with tus 1.0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import node
from tests.support.content import MIB, content
from tests.support.server import RunningServer
from tests.support.stored import assert_stored, head, own_url
from tests.support.stored import request as ask

pytestmark = pytest.mark.timeout(120)

MODES = ("ietf-draft-03", "ietf-draft-05")
VERSIONS = {"ietf-draft-03": "5", "ietf-draft-05": "6"}


def file_of(folder: Path, data: bytes | memoryview) -> str:
    path = folder / "source.bin"
    path.write_bytes(data)
    return str(path)


def assert_complete(server: RunningServer, url: str, data: bytes | memoryview) -> None:
    """The upload is complete by Upload-Complete of version 8, and the stored bytes are those that were sent."""
    _, headers, _ = ask("HEAD", own_url(server, url), {"Upload-Draft-Interop-Version": "8"})
    assert headers["upload-complete"] == "?1"
    assert_stored(server, url, data)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("options", "methods"),
    [
        ({}, ["POST", "PATCH"]),
        ({"chunkSize": 2 * MIB}, ["POST", "PATCH", "PATCH", "PATCH"]),
        ({"uploadDataDuringCreation": True}, ["POST"]),
        ({"uploadDataDuringCreation": True, "chunkSize": 2 * MIB}, ["POST", "PATCH", "PATCH"]),
    ],
    ids=["whole", "chunks", "with creation", "chunks with creation"],
)
def test_every_way_of_sending(
    server: RunningServer, tmp_path: Path, mode: str, options: dict[str, Any], methods: list[str]
) -> None:
    """Every way of sending a file completes it, stores its bytes, and uses the interop version of the mode."""
    data = content(21, 5 * MIB + 17)
    outcome = node.upload(endpoint=server.url, file=file_of(tmp_path, data), options={"protocol": mode, **options})
    assert outcome.error is None
    assert outcome.methods() == methods
    assert {sent["headers"]["Upload-Draft-Interop-Version"] for sent in outcome.requests} == {VERSIONS[mode]}
    assert_complete(server, outcome.url, data)


@pytest.mark.parametrize("mode", MODES)
def test_empty_file(server: RunningServer, tmp_path: Path, mode: str) -> None:
    """The client sends no append for an empty file: it is complete after its creation."""
    outcome = node.upload(endpoint=server.url, file=file_of(tmp_path, b""), options={"protocol": mode})
    assert outcome.error is None
    assert outcome.methods() == ["POST"]
    assert_complete(server, outcome.url, b"")


@pytest.mark.parametrize("mode", MODES)
def test_stream_of_unknown_length(server: RunningServer, tmp_path: Path, mode: str) -> None:
    """The last request completes the upload, which sets its length."""
    data = content(22, 3 * MIB + 1)
    options = {"protocol": mode, "uploadLengthDeferred": True, "chunkSize": MIB}
    outcome = node.upload(endpoint=server.url, file=file_of(tmp_path, data), stream=True, options=options)
    assert outcome.error is None
    assert_complete(server, outcome.url, data)


@pytest.mark.parametrize(
    ("first", "second"),
    [*((mode, mode) for mode in MODES), *((mode, "tus-v1") for mode in MODES), *(("tus-v1", mode) for mode in MODES)],
)
def test_upload_changes_its_protocol(server: RunningServer, tmp_path: Path, first: str, second: str) -> None:
    """After an abort during a PATCH, another process continues the upload in another protocol."""
    data = content(23, 16 * MIB)
    arguments: dict[str, Any] = {
        "endpoint": server.url,
        "file": file_of(tmp_path, data),
        "storage": str(tmp_path / "urls.json"),
    }
    aborted = node.upload(**arguments, options={"chunkSize": 4 * MIB, "protocol": first}, abortAfter=8 * MIB)
    assert aborted.error is None
    resumed = node.upload(**arguments, options={"chunkSize": 4 * MIB, "protocol": second})
    assert resumed.error is None
    assert (resumed.previous, resumed.url) == (1, aborted.url)
    assert resumed.methods()[0] == "HEAD"
    assert "POST" not in resumed.methods()
    assert int(resumed.of("PATCH")[0]["headers"]["Upload-Offset"]) >= 8 * MIB
    assert_complete(server, resumed.url, data)


@pytest.mark.parametrize("mode", MODES)
def test_metadata_and_termination_204(server: RunningServer, tmp_path: Path, mode: str) -> None:
    """The metadata of tus is kept in these modes too, and an upload can be terminated."""
    options = {"protocol": mode, "metadata": {"filename": "a.bin"}}
    arguments: dict[str, Any] = {"endpoint": server.url, "file": file_of(tmp_path, b"abc"), "options": options}
    kept = node.upload(**arguments)
    assert head(server, kept.url)[1]["upload-metadata"] == kept.requests[0]["headers"]["Upload-Metadata"]
    ended = node.upload(**arguments, terminate=True)
    assert [delete["status"] for delete in ended.of("DELETE")] == [204]
    assert head(server, ended.url)[0] == 404
