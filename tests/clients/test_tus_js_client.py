"""tus-js-client in Node: every way of uploading stores the bytes that were sent."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.support import node
from tests.support.content import MIB, content
from tests.support.server import RunningServer, start_server
from tests.support.stored import assert_stored, head, own_url, request

pytestmark = pytest.mark.timeout(120)

NAME = "Grüße, „Ümläut“ \N{SNOWMAN} 文件.bin"


def file_of(folder: Path, data: bytes | memoryview, name: str = "source.bin") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_upload_of_64_mib(server: RunningServer, tmp_path: Path) -> None:
    """64 MiB are uploaded in one POST and one PATCH."""
    data = content(1, 64 * MIB)
    outcome = node.upload(endpoint=server.url, file=str(file_of(tmp_path, data)))
    assert outcome.error is None
    assert outcome.methods() == ["POST", "PATCH"]
    assert_stored(server, outcome.url, data)


def test_chunked_upload(server: RunningServer, tmp_path: Path) -> None:
    """With a chunk size, each PATCH starts at the end of the previous one; the last one is shorter."""
    data = content(2, 5 * MIB + 17)
    outcome = node.upload(endpoint=server.url, file=str(file_of(tmp_path, data)), options={"chunkSize": 2 * MIB})
    assert outcome.error is None
    assert [patch["headers"]["Upload-Offset"] for patch in outcome.of("PATCH")] == ["0", str(2 * MIB), str(4 * MIB)]
    assert_stored(server, outcome.url, data)


def test_parallel_upload(server: RunningServer, tmp_path: Path) -> None:
    """Four partial uploads run in parallel and are concatenated in the right order."""
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
    """With ``uploadDataDuringCreation`` and a chunk size, the POST has the first chunk, PATCHes the others."""
    data = content(5, 5 * MIB)
    outcome = node.upload(
        endpoint=server.url,
        file=str(file_of(tmp_path, data)),
        options={"uploadDataDuringCreation": True, "chunkSize": 2 * MIB},
    )
    assert outcome.error is None
    assert outcome.methods() == ["POST", "PATCH", "PATCH"]
    assert_stored(server, outcome.url, data)


def test_stream_of_unknown_length(server: RunningServer, tmp_path: Path) -> None:
    """The length of a stream is deferred; the last request declares it."""
    # Not a multiple of the chunk size: the client would wait without end for more of the ended stream.
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


def test_resume_by_the_stored_url(server: RunningServer, tmp_path: Path) -> None:
    """After an abort during a PATCH, a second process finds the URL in its storage and sends only the rest."""
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


def test_overridden_patch_method(server: RunningServer, tmp_path: Path) -> None:
    """With ``overridePatchMethod`` every PATCH is sent as a POST."""
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
def test_terminated_upload_404(server: RunningServer, tmp_path: Path, abort_after: int | None) -> None:
    """A terminated upload is 404 and its file is deleted."""
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


def test_empty_file(server: RunningServer, tmp_path: Path) -> None:
    """An empty file is complete after its creation."""
    outcome = node.upload(endpoint=server.url, file=str(file_of(tmp_path, b"")))
    assert outcome.error is None
    assert outcome.methods() == ["POST"]
    assert_stored(server, outcome.url, b"")


def test_metadata_in_any_script(server: RunningServer, tmp_path: Path) -> None:
    """Metadata, also an empty value, is returned as it was sent, and names the file of a download."""
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


@pytest.mark.parametrize("parallel", [1, 3])
def test_upload_through_every_limit(tmp_path: Path, parallel: int) -> None:
    """Rates, slots and quotas that suffice end no upload: it takes its time, and its bytes are right.

    With more parallel uploads than slots the client waits, and repeats what is answered 423.
    """
    settings = {
        "RATES__CREATIONS_PER_MINUTE": "1",
        "RATES__CREATIONS_PER_ADDRESS": "1",
        "RATES__BYTES_PER_SECOND_PER_UPLOAD": "4MiB",
        "RATES__BYTES_PER_SECOND_PER_OWNER": "4MiB",
        "RATES__UPLOADS_RECEIVING_AT_ONCE": "1",
        "RATES__WAIT_SECONDS": "0.3",
        "QUOTAS__ENABLED": "true",
        "QUOTAS__BYTES_PER_DAY": "6MiB",
        "QUOTAS__FILES_PER_DAY": "1",
        "QUOTAS__BYTES_STORED": "6MiB",
        "QUOTAS__UPLOADS_AT_ONCE": "1",
    }
    data = content(9, 6 * MIB)
    server = start_server(tmp_path / "data", settings=settings)
    try:
        outcome = node.upload(
            endpoint=server.url,
            file=str(file_of(tmp_path, data)),
            options={"parallelUploads": parallel, "retryDelays": [100] * 100},
        )
        assert outcome.error is None
        assert_stored(server, outcome.url, data)
        again = node.upload(endpoint=server.url, file=str(file_of(tmp_path, b"x")), options={"retryDelays": None})
        assert "ERR_TOO_MANY_CREATIONS" in (again.error or "")
    finally:
        server.stop()
