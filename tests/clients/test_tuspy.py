"""tuspy, the Python client: every way of uploading stores the bytes that were sent."""

from __future__ import annotations

import asyncio
import gc
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusUploadFailed
from tusclient.storage.filestorage import FileStorage
from tusclient.uploader.uploader import Uploader

from tests.support.content import MIB, content
from tests.support.server import RunningServer
from tests.support.stored import assert_stored, head

pytestmark = [
    pytest.mark.timeout(60),
    # The client leaves its files and connections to the garbage collector, and sends large bodies as bytes.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect what the client left open now, not during another test."""
    yield
    gc.collect()


def uploader_of(server: RunningServer, source: Path, **options: Any) -> Any:
    """The client's uploader, as ``Any``: the client has few type annotations."""
    return TusClient(server.url).uploader(str(source), **options)


def urls_in(path: Path) -> Any:
    return FileStorage(str(path))  # type: ignore[no-untyped-call]  # as the class is


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(content(20, 5 * MIB + 3))
    return path


def test_upload_without_metadata(server: RunningServer, source: Path) -> None:
    """Without a chunk size the file is one PATCH; an empty ``Upload-Metadata`` counts as none."""
    uploader = uploader_of(server, source)
    uploader.upload()
    assert_stored(server, uploader.url, source.read_bytes())
    assert "upload-metadata" not in head(server, uploader.url)[1]


def test_chunked_upload_with_metadata(server: RunningServer, source: Path) -> None:
    """With a chunk size each chunk is a PATCH that advances the offset."""
    uploader = uploader_of(server, source, chunk_size=2 * MIB, metadata={"filename": "Größe.bin", "empty": ""})
    offsets = []
    while uploader.offset < len(source.read_bytes()):
        uploader.upload_chunk()
        offsets.append(head(server, uploader.url)[1]["upload-offset"])
    assert offsets == [str(2 * MIB), str(4 * MIB), str(5 * MIB + 3)]
    assert_stored(server, uploader.url, source.read_bytes())
    assert "R3LDtsOfZS5iaW4=" in head(server, uploader.url)[1]["upload-metadata"]


def test_resume_by_the_stored_url(server: RunningServer, source: Path, tmp_path: Path) -> None:
    """A second uploader finds the URL in its storage and continues from the offset."""
    storage = urls_in(tmp_path / "urls.json")
    try:
        first = uploader_of(
            server, source, chunk_size=MIB, store_url=True, url_storage=storage, metadata={"filename": "a"}
        )
        first.upload(stop_at=2 * MIB)
        second = uploader_of(server, source, chunk_size=MIB, store_url=True, url_storage=storage)
        assert (second.url, second.offset) == (first.url, 2 * MIB)
        second.upload()
    finally:
        storage.close()
    assert_stored(server, first.url, source.read_bytes())


def test_checksum_is_accepted(server: RunningServer, source: Path) -> None:
    """With ``upload_checksum`` every chunk has its SHA-1, and the upload completes."""
    uploader = uploader_of(server, source, chunk_size=2 * MIB, upload_checksum=True)
    uploader.upload()
    assert_stored(server, uploader.url, source.read_bytes())


class Corrupting(Uploader):
    """An uploader whose checksums do not match its bytes."""

    CHECKSUM_ALGORITHM_PAIR: Any = ("sha1", lambda chunk: hashlib.sha1(chunk + b"!"))


def test_wrong_checksum_460(server: RunningServer, source: Path) -> None:
    """A chunk that does not match its SHA-1 is refused with 460 and discarded."""
    uploader: Any = Corrupting(
        file_path=str(source), client=TusClient(server.url), chunk_size=2 * MIB, upload_checksum=True
    )
    with pytest.raises(TusUploadFailed) as refused:
        uploader.upload()
    assert refused.value.status_code == 460
    assert uploader.get_offset() == 0


@pytest.mark.anyio
async def test_asynchronous_uploader(server: RunningServer, source: Path) -> None:
    """The asynchronous uploader uploads three files concurrently."""
    uploaders: list[Any] = [TusClient(server.url).async_uploader(str(source), chunk_size=2 * MIB) for _ in range(3)]
    await asyncio.gather(*(uploader.upload() for uploader in uploaders))
    urls = [uploader.url for uploader in uploaders]
    assert len(set(urls)) == 3
    for url in urls:
        assert_stored(server, url, source.read_bytes())
