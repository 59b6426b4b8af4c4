"""GET: which uploads can be downloaded. Ranges and conditions are tested with the protocol."""

from __future__ import annotations

import pytest

from tests.support.harness import UploadsHarness
from tusd_py.model.upload import Kind
from tusd_py.protocol.errors import UploadNotFound, UploadUnfinished
from tusd_py.protocol.requests import Download
from tusd_py.protocol.rules import Limits
from tusd_py.uploads.download import download

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


async def test_download_takes_no_lock() -> None:
    """The upload can be terminated during a download."""
    harness = UploadsHarness()
    upload_id = (await harness.create(4, b"0123")).upload.id
    found = await download(harness.ports, Download(upload_id=upload_id))
    await harness.terminate(upload_id)
    assert found.body is not None
    await found.body.aclose()
