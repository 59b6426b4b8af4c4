"""``put_object``: small and large objects are the same to S3, though different code sends them."""

from __future__ import annotations

import pytest

from tests.support.s3_recorder import recording_s3
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.storage.s3 import checksums, multipart
from tusd_py.storage.s3.client import Refused, S3Client

pytestmark = pytest.mark.anyio

ATTRIBUTES = {
    "StorageClass": "STANDARD_IA",
    "CacheControl": "max-age=60",
    "ContentType": "image/png",
    "ContentDisposition": "attachment; filename*=UTF-8''a%20b.png",
    "Tagging": "owner=a%20b&app=x",
    "ServerSideEncryption": "aws:kms",
    "SSEKMSKeyId": "key",
    "BucketKeyEnabled": True,
}
NAMES = ("cache-control", "content-type", "content-disposition")


@pytest.mark.parametrize("has_checksums", [True, False])
async def test_large_objects_have_the_same_attributes(has_checksums: bool) -> None:
    """The headers of a presigned request are those that the library would send, with or without a checksum."""
    with recording_s3() as recorder:
        client = S3Client(recorder.account())
        client.has_checksums = has_checksums
        small = [b"ab", b"c"]
        large: list[bytes | memoryview] = [bytes(200_000), memoryview(bytes(200_000))]
        assert await multipart.put_object(client, "k", small, ATTRIBUTES) == checksums.crc_of(b"abc")
        assert await multipart.put_object(client, "k", large, ATTRIBUTES) == checksums.crc_of(bytes(400_000))
        await client.close()
    first, second = recorder.asked
    assert first.amz() == {name: value for name, value in second.amz().items() if name != "content-sha256"}, (
        "those of S3"
    )
    assert [first.headers[name] for name in NAMES] == [second.headers[name] for name in NAMES]
    assert second.headers["content-length"] == "400000"
    sent = second.headers.get("x-amz-checksum-crc64nvme")
    assert sent == (checksums.to_field(checksums.crc_of(bytes(400_000))) if has_checksums else None)


async def test_refusal_of_a_large_object() -> None:
    """It is translated as that of a small one."""
    with recording_s3() as recorder:
        client = S3Client(recorder.account())
        client.has_checksums = False
        recorder.refuse = lambda _: (400, "InvalidStorageClass")
        for size in (10, 400_000):
            with pytest.raises(Refused, match="InvalidStorageClass"):
                await multipart.put_object(client, "k", [bytes(size)], {})
        recorder.refuse = lambda _: (403, "AccessDenied")
        for size in (10, 400_000):
            with pytest.raises(StoreUnavailable, match="s3:PutObject"):
                await multipart.put_object(client, "k", [bytes(size)], {})
        await client.close()
