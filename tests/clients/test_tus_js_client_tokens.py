"""tus-js-client with tokens: one that expires in the middle of an upload is renewed, and no byte is sent twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import node
from tests.support.content import MIB, content
from tests.support.server import RunningServer, start_server
from tests.support.tokens import SECRET, token

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that accepts tokens only."""
    running = start_server(tmp_path / "data", settings={"JWT__SECRET": SECRET, "ACCESS__ANONYMOUS": "none"})
    yield running
    running.stop()


def source(server: RunningServer, directory: Path, data: memoryview, *, chunk_bytes: int) -> dict[str, Any]:
    """The arguments of an upload of ``data``, which a later call resumes."""
    file = directory / "source.bin"
    file.write_bytes(data)
    return {
        "endpoint": server.url,
        "file": str(file),
        "storage": str(directory / "urls.json"),
        "options": {"chunkSize": chunk_bytes},
    }


def test_expired_token_is_renewed_at_the_patch(guarded: RunningServer, tmp_path: Path) -> None:
    """The client resumes with an expired token: HEAD is 200, PATCH 401, and after the renewal it continues."""
    data = content(31, 16 * MIB)
    common = source(guarded, tmp_path, data, chunk_bytes=4 * MIB)
    aborted = node.upload(**common, abortAfter=8 * MIB, tokens=[token()])
    assert aborted.error is None
    resumed = node.upload(**common, tokens=[token(seconds=-60), token()])
    assert resumed.error is None
    assert (resumed.previous, resumed.url) == (1, aborted.url)
    assert resumed.methods()[:4] == ["HEAD", "PATCH", "HEAD", "PATCH"]
    assert [each["status"] for each in resumed.requests[:4]] == [200, 401, 200, 204]
    assert "POST" not in resumed.methods(), "the client did not start over"
    offsets = [int(each["headers"]["Upload-Offset"]) for each in resumed.of("PATCH")]
    assert min(offsets) >= 8 * MIB
    assert guarded.stored(resumed.url) == data


def test_other_subject_starts_over(guarded: RunningServer, tmp_path: Path) -> None:
    """Another user with the URL of the first gets 404, and the client creates an upload of its own."""
    data = content(32, 8 * MIB)
    common = source(guarded, tmp_path, data, chunk_bytes=2 * MIB)
    first = node.upload(**common, abortAfter=4 * MIB, tokens=[token("alice")])
    second = node.upload(**common, tokens=[token("bob")])
    assert second.error is None
    assert second.url != first.url
    assert second.requests[0]["status"] == 404
    assert guarded.stored(second.url) == data
