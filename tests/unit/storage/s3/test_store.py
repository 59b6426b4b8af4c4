"""What the store asks S3 for: the attributes of objects, on every request that makes one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contracts.store import MIB, an_upload, append, cut
from tests.support.s3_recorder import Recorder, recording_s3
from tusd_py.storage.s3.attributes import ObjectAttributes
from tusd_py.storage.s3.store import S3Store

pytestmark = pytest.mark.anyio

ENCRYPTION = {
    "server-side-encryption": "aws:kms",
    "server-side-encryption-aws-kms-key-id": "arn:k",
    "server-side-encryption-bucket-key-enabled": "true",
}
ATTRIBUTES = {**ENCRYPTION, "storage-class": "STANDARD_IA", "tagging": "a=b%20c"}


@pytest.fixture
def service() -> Iterator[Recorder]:
    with recording_s3() as recorder:
        yield recorder


def a_store(service: Recorder) -> S3Store:
    attributes = ObjectAttributes(
        storage_class="STANDARD_IA", tags={"a": "b c"}, encryption="aws:kms", kms_key_id="arn:k", bucket_key=True
    )
    return S3Store(service.account(), part_bytes=5 * MIB, attributes=attributes)


async def test_small_object_and_tail_and_probe(service: Recorder) -> None:
    """A bucket may refuse what is not encrypted, so everything is; only the complete upload has class and tags."""
    store = a_store(service)
    await store.probe()
    upload = await append(store, an_upload(), [b"12"], durable=False)
    await append(store, an_upload("other"), [b"12"])
    await store.close()
    assert upload.offset == 2
    probe, tail, complete = [asked.amz() for asked in service.asked if asked.method == "PUT"]
    assert (probe, tail, complete) == (ENCRYPTION, ENCRYPTION, ATTRIBUTES)


async def test_large_object(service: Recorder) -> None:
    """Those of a multipart upload are given when it is created; parts have none."""
    store = a_store(service)
    await append(store, an_upload(), cut(bytes(6 * MIB), MIB))
    await store.close()
    [created] = [asked.amz() for asked in service.asked if "uploads" in asked.query]
    assert created == ATTRIBUTES
    assert [{}, {}] == [asked.amz() for asked in service.asked if "partNumber" in asked.query]
