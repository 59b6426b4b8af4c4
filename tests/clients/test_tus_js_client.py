"""tus-js-client under Node: every way of uploading it offers ends with the bytes that were sent."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.support import node
from tests.support.content import MIB, content
from tests.support.server import RunningServer
from tests.support.stored import assert_stored, head, own_url, request

pytestmark = pytest.mark.timeout(120)

NAME = "Grüße, „Ümläut“ \N{SNOWMAN} 文件.bin"


def file_of(folder: Path, data: bytes | memoryview, name: str = "source.bin") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_a_plain_upload_of_64_mib(server: RunningServer, tmp_path: Path) -> None:
    """64 MiB go up in one POST and one PATCH."""
    data = content(1, 64 * MIB)
    outcome = node.upload(endpoint=server.url, file=str(file_of(tmp_path, data)))
    assert outcome.error is None
    assert outcome.methods() == ["POST", "PATCH"]
    assert_stored(server, outcome.url, data)


def test_a_chunked_upload(server: RunningServer, tmp_path: Path) -> None:
    """With a chunk size, each PATCH starts where the one before ended; the last one is shorter."""
    data = content(2, 5 * MIB + 17)
    outcome = node.upload(endpoint=server.url, file=str(file_of(tmp_path, data)), options={"chunkSize": 2 * MIB})
    assert outcome.error is None
    assert [patch["headers"]["Upload-Offset"] for patch in outcome.of("PATCH")] == ["0", str(2 * MIB), str(4 * MIB)]
    assert_stored(server, outcome.url, data)


def test_parallel_uploads(server: RunningServer, tmp_path: Path) -> None:
    """Four partial uploads go up at once and are joined into one final upload in the right order."""
    data = content(3, 16 * MIB + 3)
    outcome = node.upload(
        endpoint=server.url,
        file=str(file_of(tmp_path, data)),
        options={"parallelUploads": 4, "metadata": {"filename": NAME}, "metadataForPartialUploads": {"part": "yes"}},
    )
    assert outcome.error is None
    concat = [post["headers"]["Upload-Concat"] for post in outcome.of("POST")]
    assert concat[:4] == ["partial"] * 4
    assert len(concat) == 5
    assert concat[4].startswith("final;")
    assert_stored(server, outcome.url, data)
    _, headers = head(server, outcome.url)
    assert headers["upload-concat"] == concat[4]
    assert headers["upload-metadata"] == "filename " + base64.b64encode(NAME.encode()).decode()


def test_data_during_creation(server: RunningServer, tmp_path: Path) -> None:
    """With ``uploadDataDuringCreation`` a small file is one request."""
    data = content(4, 300_000)
    outcome = node.upload(
        endpoint=server.url, file=str(file_of(tmp_path, data)), options={"uploadDataDuringCreation": True}
    )
    assert outcome.error is None
    assert outcome.methods() == ["POST"]
    assert_stored(server, outcome.url, data)


def test_data_during_creation_in_chunks(server: RunningServer, tmp_path: Path) -> None:
    """With ``uploadDataDuringCreation`` and a chunk size, the first chunk travels in the POST, others in PATCHes."""
    data = content(5, 5 * MIB)
    outcome = node.upload(
        endpoint=server.url,
        file=str(file_of(tmp_path, data)),
        options={"uploadDataDuringCreation": True, "chunkSize": 2 * MIB},
    )
    assert outcome.error is None
    assert outcome.methods() == ["POST", "PATCH", "PATCH"]
    assert_stored(server, outcome.url, data)


def test_a_stream_of_unknown_length(server: RunningServer, tmp_path: Path) -> None:
    """A stream goes up with its length deferred until the last request, which declares it."""
    # Not a multiple of the chunk size: there this client waits for ever for more of an ended stream.
    data = content(6, 5 * MIB + 1)
    outcome = node.upload(
        endpoint=server.url,
        file=str(file_of(tmp_path, data)),
        stream=True,
        options={"uploadLengthDeferred": True, "chunkSize": MIB},
    )
    assert outcome.error is None
    assert outcome.requests[0]["headers"]["Upload-Defer-Length"] == "1"
    declared = [patch["headers"].get("Upload-Length") for patch in outcome.of("PATCH")]
    assert declared == [None] * 5 + [str(len(data))]
    assert_stored(server, outcome.url, data)


def test_abort_and_resume_by_the_stored_url(server: RunningServer, tmp_path: Path) -> None:
    """Aborted within a PATCH, a second process finds the URL in the storage and sends only what is missing."""
    data = content(7, 16 * MIB)
    arguments: dict[str, Any] = {
        "endpoint": server.url,
        "file": str(file_of(tmp_path, data)),
        "storage": str(tmp_path / "urls.json"),
        "options": {"chunkSize": 4 * MIB},
    }
    aborted = node.upload(**arguments, abortAfter=8 * MIB)
    assert aborted.error is None
    last = aborted.requests[-1]
    assert (last["method"], last["status"], last["headers"]["Upload-Offset"]) == ("PATCH", None, str(8 * MIB))

    resumed = node.upload(**arguments)
    assert resumed.error is None
    assert (resumed.previous, resumed.url) == (1, aborted.url)
    assert resumed.methods()[0] == "HEAD"
    assert "POST" not in resumed.methods()
    assert 8 * MIB <= int(resumed.of("PATCH")[0]["headers"]["Upload-Offset"]) < 12 * MIB
    assert_stored(server, resumed.url, data)


def test_the_patch_method_overridden(server: RunningServer, tmp_path: Path) -> None:
    """With ``overridePatchMethod`` every PATCH travels as a POST."""
    data = content(8, 3 * MIB)
    outcome = node.upload(
        endpoint=server.url,
        file=str(file_of(tmp_path, data)),
        options={"overridePatchMethod": True, "chunkSize": MIB},
    )
    assert outcome.error is None
    assert outcome.methods() == ["POST"] * 4
    assert [post["headers"].get("X-HTTP-Method-Override") for post in outcome.requests] == [None] + ["PATCH"] * 3
    assert_stored(server, outcome.url, data)


@pytest.mark.parametrize("abort_after", [None, 2 * MIB], ids=["complete", "in the middle of a PATCH"])
def test_terminate(server: RunningServer, tmp_path: Path, abort_after: int | None) -> None:
    """A terminated upload is gone: from the answers and from the disk."""
    data = content(9, 4 * MIB)
    arguments: dict[str, Any] = {} if abort_after is None else {"abortAfter": abort_after}
    outcome = node.upload(
        endpoint=server.url,
        file=str(file_of(tmp_path, data)),
        options={"chunkSize": MIB, "retryDelays": [0, 100, 300]},
        terminate=True,
        **arguments,
    )
    assert outcome.error is None
    assert [delete["status"] for delete in outcome.of("DELETE")] == [204]
    assert head(server, outcome.url)[0] == 404
    with pytest.raises(FileNotFoundError):
        server.stored(outcome.url)


def test_an_empty_file(server: RunningServer, tmp_path: Path) -> None:
    """An empty file is complete with its creation."""
    outcome = node.upload(endpoint=server.url, file=str(file_of(tmp_path, b"")))
    assert outcome.error is None
    assert outcome.methods() == ["POST"]
    assert_stored(server, outcome.url, b"")


def test_metadata_in_every_script(server: RunningServer, tmp_path: Path) -> None:
    """Metadata comes back as it was sent, an empty value too, and names the file of a download."""
    data = content(10, 1000)
    outcome = node.upload(
        endpoint=server.url,
        file=str(file_of(tmp_path, data)),
        options={"metadata": {"filename": NAME, "filetype": "application/x-ünknown", "empty": ""}},
    )
    assert outcome.error is None
    sent = outcome.requests[0]["headers"]["Upload-Metadata"]
    assert head(server, outcome.url)[1]["upload-metadata"] == sent.strip()
    _, headers, _ = request("GET", own_url(server, outcome.url))
    assert file_name(headers["content-disposition"]) == NAME
    assert_stored(server, outcome.url, data)


def file_name(disposition: str) -> str:
    """The ``filename*`` of a Content-Disposition, decoded by RFC 8187."""
    value = re.search(r"filename\*=UTF-8''([^;]+)", disposition)
    assert value is not None, disposition
    return unquote(value[1])
