"""Shorthands for unit tests of concatenation."""

from __future__ import annotations

from tests.support.harness import UploadsHarness
from tusd_py.model.upload import Kind, Upload
from tusd_py.uploads.policy import UploadPolicy

#: A policy with which every final upload is concatenated in the background.
LATER = UploadPolicy(concatenate_at_once_bytes_max=0)


async def part(harness: UploadsHarness, content: bytes, length: int | None = None) -> str:
    """The id of a new partial upload with ``content``; complete unless ``length`` is greater."""
    return (await harness.create(length or len(content), content, kind=Kind.PARTIAL)).upload.id


async def create_final(harness: UploadsHarness, *parts: str) -> str:
    """The id of a new final upload of ``parts``."""
    return (await harness.create(None, kind=Kind.FINAL, parts=parts)).upload.id


async def found(harness: UploadsHarness, upload_id: str) -> Upload:
    """The upload as it is recorded."""
    upload = await harness.record(upload_id)
    assert upload is not None
    return upload
