"""Publishing within a real S3 server: each upload once, none over another object, also after crashes in any step."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.store import MIB, an_upload, append, cut
from tests.support.content import content
from tests.support.s3 import EVERY_KIND, RGW, SEAWEEDFS, VERSITYGW, S3Server, running_s3
from tusd_py.contracts.publisher import PublishFailed
from tusd_py.contracts.store import BytesMissing, StoreUnavailable
from tusd_py.locking.memory import MemoryLocker
from tusd_py.model.upload import Upload
from tusd_py.publishing.names import candidates, with_random_suffix
from tusd_py.storage.s3 import copying
from tusd_py.storage.s3.attributes import ObjectAttributes
from tusd_py.storage.s3.capabilities import Capabilities, find_capabilities
from tusd_py.storage.s3.client import S3Client
from tusd_py.storage.s3.layout import Keys
from tusd_py.storage.s3.publisher import BucketPublisher
from tusd_py.storage.s3.store import S3Store

# The server takes minutes to compile.
pytestmark = [pytest.mark.long, pytest.mark.anyio]


_ATTRIBUTES = ObjectAttributes(tags={"a": "b"})
#: docs/s3.md.
_CAPABILITIES = {
    VERSITYGW: Capabilities(copies_parts=True, is_exclusive=True),
    SEAWEEDFS: Capabilities(copies_parts=True, is_exclusive=True),
    RGW: Capabilities(copies_parts=True, is_exclusive=False, ignored=("s3.tags",)),
}


class Killed(BaseException):
    """The death of the process, for the code that it stops."""


@pytest.fixture(scope="module", params=EVERY_KIND)
def server(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with running_s3(request.param) as running:
        yield running


class Bench:
    """A store and publishers of it, with a bucket for uploads and one for published objects."""

    def __init__(self, server: S3Server, name: str) -> None:
        self.server, self.blocking = server, server.client()
        self.source, self.target = f"{name}s", f"{name}t"
        for bucket in (self.source, self.target):
            self.blocking.create_bucket(Bucket=bucket)
        self.store = S3Store(server.account(self.source), part_bytes=5 * MIB)
        self.clients: list[S3Client] = []
        self.locker = MemoryLocker()

    def publisher(
        self, name: str = "a/report.txt", *, is_exclusive: bool = True, copies_parts: bool = True
    ) -> BucketPublisher:
        target = S3Client(self.server.account(self.target))
        self.clients.append(target)

        async def capabilities() -> Capabilities:
            return Capabilities(copies_parts=copies_parts, is_exclusive=is_exclusive)

        return BucketPublisher(
            source=self.store.client,
            target=target,
            keys=Keys(""),
            attributes=_ATTRIBUTES,
            prefix="pub/",
            name=lambda _: name,
            candidates=candidates,
            suffixed=with_random_suffix,
            locker=self.locker,
            capabilities=capabilities,
        )

    async def upload(self, upload_id: str, body: bytes) -> Upload:
        return await append(self.store, an_upload(upload_id), cut(body, MIB))

    def published(self) -> dict[str, bytes]:
        listed = self.blocking.list_objects_v2(Bucket=self.target).get("Contents", ())
        return {
            each["Key"]: self.blocking.get_object(Bucket=self.target, Key=each["Key"])["Body"].read() for each in listed
        }

    async def has_tags(self, key: str) -> bool:
        """Whether an object has the tags of a published one, or the service is found to ignore them."""
        tags = self.blocking.get_object_tagging(Bucket=self.target, Key=key).get("TagSet")
        if tags == [{"Key": "a", "Value": "b"}]:
            return True
        found = await find_capabilities(self.store.client, Keys(""), _ATTRIBUTES)
        return not tags and found.ignored == ("s3.tags",)

    def leftovers(self) -> list[str]:
        notes = self.blocking.list_objects_v2(Bucket=self.source, Prefix="publishing/").get("Contents", ())
        begun = self.blocking.list_multipart_uploads(Bucket=self.target).get("Uploads") or ()
        return [each["Key"] for each in (*notes, *begun)]

    async def close(self) -> None:
        for client in self.clients:
            await client.close()
        await self.store.close()


@pytest.fixture
async def bench(server: S3Server, tmp_path: Path) -> Any:
    made = Bench(server, "b" + hashlib.sha256(str(tmp_path).encode()).hexdigest()[:20])
    yield made
    await made.close()


async def test_capabilities(bench: Bench) -> None:
    """What a server finds out of each service is what the documentation says, and nothing is left of the trial."""
    found = await find_capabilities(bench.store.client, Keys(""), _ATTRIBUTES)
    expected = _CAPABILITIES.get(bench.server.kind)
    if expected is not None:
        assert found == expected
    assert not bench.blocking.list_objects_v2(Bucket=bench.source).get("Contents")
    assert not bench.blocking.list_multipart_uploads(Bucket=bench.source).get("Uploads")


async def publish(publisher: BucketPublisher, upload: Upload, store: S3Store) -> str:
    await publisher.prepare(upload, store)
    path = await publisher.place(upload)
    await publisher.cleanup(upload)
    return path


@pytest.mark.parametrize("size", [0, 3, 12 * MIB])
async def test_published_is_a_copy_with_attributes(bench: Bench, size: int) -> None:
    """It outlives its source; nothing else is left of the work."""
    body = bytes(content(70, size))
    upload = await bench.upload("one", body)
    assert await publish(bench.publisher(), upload, bench.store) == "a/report.txt"
    await bench.store.delete(upload)
    assert bench.published() == {"pub/a/report.txt": body}
    assert await bench.has_tags("pub/a/report.txt")
    assert "one" not in str(bench.blocking.head_object(Bucket=bench.target, Key="pub/a/report.txt")["Metadata"])
    assert bench.leftovers() == []


async def test_nothing_is_replaced(bench: Bench) -> None:
    """An object of another program, and other uploads of the same name, stay; each name gets a number."""
    bench.blocking.put_object(Bucket=bench.target, Key="pub/a/report.txt", Body=b"foreign")
    uploads = [await bench.upload(f"u{number}", b"%d" % number) for number in range(3)]
    paths = [await publish(bench.publisher(), upload, bench.store) for upload in uploads]
    assert paths == ["a/report-2.txt", "a/report-3.txt", "a/report-4.txt"]
    assert sorted(bench.published().values()) == [b"0", b"1", b"2", b"foreign"]


async def test_many_at_once_under_one_name(bench: Bench) -> None:
    """Each gets a name of its own, whatever the order in which they look and appear; retries succeed."""
    uploads = [await bench.upload(f"u{number}", b"%d" % number) for number in range(12)]

    async def one(upload: Upload) -> str:
        while True:
            try:
                return await publish(bench.publisher(), upload, bench.store)
            except PublishFailed:
                await asyncio.sleep(0)

    paths = await asyncio.gather(*map(one, uploads))
    published = bench.published()
    assert len(set(paths)) == len(published) == 12
    assert [published[f"pub/{path}"] for path in paths] == [b"%d" % number for number in range(12)]
    assert bench.leftovers() == []


@pytest.mark.parametrize("size", [0, 3, 6 * MIB])
async def test_without_copies_of_parts(bench: Bench, size: int) -> None:
    """The object is copied at once, with the attributes of a published one, under a name of its own."""
    body = bytes(content(73, size))
    upload = await bench.upload("one", body)
    path = await publish(bench.publisher(copies_parts=False), upload, bench.store)
    again = await publish(bench.publisher(copies_parts=False), upload, bench.store)
    assert path == again == with_random_suffix("a/report.txt", "one")
    assert bench.published() == {f"pub/{path}": body}
    assert await bench.has_tags(f"pub/{path}")
    assert bench.leftovers() == []


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("is_exclusive", [True, False], ids=["exclusive", "suffixed"])
async def test_killed_at_any_request(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, is_exclusive: bool, is_done: bool
) -> None:
    """Killed before or after its n-th request reached S3, for every n: another attempt leaves exactly one object."""
    original = S3Client.call
    body = bytes(content(71, 6 * MIB))
    for number in range(1, 40):
        upload = await bench.upload(f"u{number}", body)
        left = number

        async def call(self: S3Client, operation: str, **arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0 or (left == 0 and not is_done):
                raise Killed  # what is to be tidied up is not, either
            response = await original(self, operation, **arguments)
            if left == 0:
                raise Killed
            return response

        killed = False
        monkeypatch.setattr(S3Client, "call", call)
        try:
            await publish(bench.publisher(f"{number}/x", is_exclusive=is_exclusive), upload, bench.store)
        except* Killed:
            killed = True
        monkeypatch.setattr(S3Client, "call", original)
        await publish(bench.publisher(f"{number}/x", is_exclusive=is_exclusive), upload, bench.store)
        if not killed:
            break
    published = bench.published()
    assert number > 8, "the loop reached the end of a whole attempt"
    assert all(stored == body for stored in published.values())
    folders = [key.split("/")[1] for key in published]
    assert {folder: folders.count(folder) for folder in folders} == dict.fromkeys(map(str, range(1, number + 1)), 1)


async def test_published_object_is_found_though_its_name_became_free(bench: Bench) -> None:
    """Killed before the record was saved: the note names the key, so a free earlier name is not used for a second."""
    bench.blocking.put_object(Bucket=bench.target, Key="pub/a/report.txt", Body=b"foreign")
    upload = await bench.upload("one", b"1")
    publisher = bench.publisher()
    await publisher.prepare(upload, bench.store)
    assert await publisher.place(upload) == "a/report-2.txt"
    bench.blocking.delete_object(Bucket=bench.target, Key="pub/a/report.txt")
    assert await publish(bench.publisher(), upload, bench.store) == "a/report-2.txt"
    assert bench.published() == {"pub/a/report-2.txt": b"1"}


async def test_withdrawn_only_if_it_is_its_own(bench: Bench) -> None:
    """An upload that was terminated meanwhile leaves nothing, and takes nothing of another upload away."""
    first, second = await bench.upload("one", b"1"), await bench.upload("two", b"2")
    publisher = bench.publisher()
    await publisher.prepare(first, bench.store)
    path = await publisher.place(first)
    await publisher.withdraw(second, path)
    assert bench.published() == {"pub/a/report.txt": b"1"}
    await publisher.withdraw(first, path)
    await publisher.cleanup(first)
    assert (bench.published(), bench.leftovers()) == ({}, [])


async def test_an_id_that_is_used_again_is_another_upload(bench: Bench) -> None:
    """Hooks may choose an id again; the object of the earlier upload is not taken for that of the later one."""
    first = await bench.upload("one", b"1")
    await publish(bench.publisher(), first, bench.store)
    await bench.store.delete(first)
    second = replace(await bench.upload("one", b"2"), created_at=first.created_at.replace(year=2050))
    assert await publish(bench.publisher(), second, bench.store) == "a/report-2.txt"


async def test_without_conditional_writes(bench: Bench) -> None:
    """Each name has a suffix that no other upload has, so nothing can be replaced."""
    uploads = [await bench.upload(f"u{number}", b"%d" % number) for number in range(4)]
    publisher = bench.publisher(is_exclusive=False)
    paths = await asyncio.gather(*(publish(publisher, upload, bench.store) for upload in uploads))
    assert all(path.startswith("a/report-") and len(path) == len("a/report-mzxw6ytb.txt") for path in paths)
    assert sorted(bench.published().values()) == [b"0", b"1", b"2", b"3"]


async def test_large_uploads_are_copied_in_parts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above 5 GiB S3 copies nothing at once; the order of the parts is kept."""
    monkeypatch.setattr(copying, "_PART_BYTES", 5 * MIB)
    body = bytes(content(72, 23 * MIB + 5))
    await publish(bench.publisher(), await bench.upload("one", body), bench.store)
    assert bench.published() == {"pub/a/report.txt": body}


async def test_missing_bytes_and_missing_bucket(bench: Bench) -> None:
    """The upload fails for good if its bytes are gone; a bucket that is not there is tried again."""
    upload = await bench.upload("one", b"1")
    other = replace(bench.publisher(), target=S3Client(bench.server.account("nowhere")))
    with pytest.raises(StoreUnavailable, match="bucket does not exist"):
        await other.prepare(upload, bench.store)
    await other.target.close()
    await bench.store.delete(upload)
    with pytest.raises(BytesMissing):
        await bench.publisher().prepare(upload, bench.store)
    await bench.publisher().cleanup(upload)
    assert bench.leftovers() == []
