"""GET: which uploads can be downloaded. Ranges and conditions are tested with the protocol."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.harness import UploadsHarness
from tests.support.processing import with_ports
from tusd_py.contracts.store import BytesMissing
from tusd_py.contracts.zero_copy import ZeroCopyContent
from tusd_py.model.upload import Kind, Upload
from tusd_py.protocol.concat_errors import UploadNotAssembled
from tusd_py.protocol.downloads import format_etag
from tusd_py.protocol.errors import ContentGone, RangeNotSatisfiable, UploadNotFound, UploadUnfinished
from tusd_py.protocol.outcomes import Downloaded, Redirected
from tusd_py.protocol.requests import Download
from tusd_py.protocol.rules import Limits
from tusd_py.storage.disk.store import DiskStore
from tusd_py.uploads.download import download, download_or_redirect
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio


async def read(harness: UploadsHarness, request: Download) -> bytes:
    found = await download(harness.ports, request)
    assert found.body is not None
    return b"".join([piece async for piece in found.body])


async def test_download_complete() -> None:
    """The bytes are returned whole, in part, or not at all if the client has them already."""
    harness = UploadsHarness()
    upload_id = (await harness.create(4, b"0123")).upload.id
    assert await read(harness, Download(upload_id=upload_id)) == b"0123"
    assert await read(harness, Download(upload_id=upload_id, range="bytes=1-2")) == b"12"
    unchanged = await download(harness.ports, Download(upload_id=upload_id, if_none_match="*"))
    assert unchanged.body is None
    with pytest.raises(UploadNotFound):
        await download(harness.ports, Download(upload_id="unknown"))


async def test_download_unfinished_by_setting() -> None:
    """Refused by default; where allowed, the saved bytes are returned, but never of an unassembled final upload."""
    harness = UploadsHarness()
    upload_id = (await harness.create(4, b"01")).upload.id
    with pytest.raises(UploadUnfinished):
        await download(harness.ports, Download(upload_id=upload_id))
    harness.limits = Limits(partial_downloads=True)
    harness.restart()
    assert await read(harness, Download(upload_id=upload_id)) == b"01"
    part = (await harness.create(4, kind=Kind.PARTIAL)).upload.id
    final = (await harness.create(None, kind=Kind.FINAL, parts=[part])).upload.id
    with pytest.raises(UploadUnfinished):
        await download(harness.ports, Download(upload_id=final))


async def test_download_of_a_final_upload_being_assembled_409() -> None:
    """While parts are unfinished it is 404; once they are complete, 409 with Retry-After until the bytes are there."""
    harness = UploadsHarness(policy=UploadPolicy(concatenate_at_once_bytes_max=0))
    parts = [(await harness.create(4, kind=Kind.PARTIAL)).upload.id for _ in range(2)]
    final = (await harness.create(None, kind=Kind.FINAL, parts=parts)).upload.id
    await harness.drain()
    await harness.append(parts[0], 0, b"0123")
    await harness.drain()
    with pytest.raises(UploadUnfinished):
        await download(harness.ports, Download(upload_id=final))
    await harness.append(parts[1], 0, b"4567")
    with pytest.raises(UploadNotAssembled) as refused:
        await download(harness.ports, Download(upload_id=final))
    assert (refused.value.status, refused.value.retry_after_seconds) == (409, 5)
    await harness.drain()
    assert await read(harness, Download(upload_id=final)) == b"01234567"


async def test_download_takes_no_lock() -> None:
    """The upload can be terminated during a download."""
    harness = UploadsHarness()
    upload_id = (await harness.create(4, b"0123")).upload.id
    found = await download(harness.ports, Download(upload_id=upload_id))
    await harness.terminate(upload_id)
    assert found.body is not None
    await found.body.aclose()


async def test_download_moved_file(tmp_path: Path) -> None:
    """A file that a hook has moved away is 410, before anything is promised; a file that was cut is no refusal."""
    harness = UploadsHarness(store=DiskStore(tmp_path / "uploads"))
    moved, cut = [(await harness.create(4, b"0123")).upload.id for _ in range(2)]
    (tmp_path / "uploads" / moved).rename(tmp_path / "elsewhere")
    os.truncate(tmp_path / "uploads" / cut, 2)
    with pytest.raises(ContentGone):
        await download(harness.ports, Download(upload_id=moved))
    unchanged = await download(harness.ports, Download(upload_id=moved, if_none_match="*"))
    assert unchanged.body is None
    with pytest.raises(BytesMissing):
        await download(harness.ports, Download(upload_id=cut))
    await harness.store.close()


async def test_download_large_file_keeps_zero_copy(tmp_path: Path) -> None:
    """Only the first piece is read before the head; the rest can be sent from the file, which is closed in the end."""
    harness = UploadsHarness(store=DiskStore(tmp_path / "uploads"))
    data = bytes(range(256)) * 4096
    upload_id = (await harness.create(len(data), data)).upload.id
    found = await download(harness.ports, Download(upload_id=upload_id))
    assert isinstance(found.body, ZeroCopyContent)
    assert data == b"".join([piece async for piece in found.body])
    assert data[5:] == await read(harness, Download(upload_id=upload_id, range="bytes=5-"))
    abandoned = await download(harness.ports, Download(upload_id=upload_id))
    assert abandoned.body is not None
    await abandoned.body.aclose()
    assert [] == [piece async for piece in abandoned.body]
    await harness.store.close()


class SigningUrls:
    """Stands for the object store: its URLs name the upload."""

    async def url(self, upload: Upload) -> str:
        return f"https://s3.example.com/{upload.id}?signature"

    async def close(self) -> None:
        """Holds nothing."""


async def test_download_is_redirected_307_by_setting() -> None:
    """A complete upload is at the URL of the object store; what this server refuses, it still refuses."""
    harness = UploadsHarness()
    ports = with_ports(harness, download_urls=SigningUrls())
    upload_id = (await harness.create(4, b"0123")).upload.id
    expected = Redirected(url=f"https://s3.example.com/{upload_id}?signature")
    assert await download_or_redirect(ports, Download(upload_id=upload_id)) == expected
    assert await download_or_redirect(ports, Download(upload_id=upload_id, range="bytes=1-2")) == expected
    unchanged = await download_or_redirect(ports, Download(upload_id=upload_id, if_none_match="*"))
    assert isinstance(unchanged, Downloaded) and unchanged.body is None
    with pytest.raises(UploadNotFound):
        await download_or_redirect(ports, Download(upload_id="unknown"))
    with pytest.raises(RangeNotSatisfiable):
        await download_or_redirect(ports, Download(upload_id=upload_id, range="bytes=9-"))
    unfinished = (await harness.create(4, b"01")).upload.id
    with pytest.raises(UploadUnfinished):
        await download_or_redirect(ports, Download(upload_id=unfinished))


@pytest.mark.parametrize("condition", ["if_match", "if_range", "if_unmodified_since"])
async def test_download_with_our_entity_tag_is_streamed(condition: str) -> None:
    """The object store has another tag and date for the same bytes, and would answer 412, or the whole content."""
    harness = UploadsHarness()
    ports = with_ports(harness, download_urls=SigningUrls())
    upload = (await harness.create(4, b"0123")).upload
    value = "Sat, 01 Jan 2050 00:00:00 GMT" if condition == "if_unmodified_since" else format_etag(upload)
    request = Download(upload_id=upload.id, **{condition: value})
    found = await download_or_redirect(ports, request)
    assert isinstance(found, Downloaded)
    assert found.body is not None
    assert b"0123" == b"".join([piece async for piece in found.body])


async def test_empty_upload_is_not_redirected() -> None:
    """The object store may have no object of no bytes."""
    harness = UploadsHarness()
    ports = with_ports(harness, download_urls=SigningUrls())
    found = await download_or_redirect(ports, Download(upload_id=(await harness.create(0)).upload.id))
    assert isinstance(found, Downloaded)
