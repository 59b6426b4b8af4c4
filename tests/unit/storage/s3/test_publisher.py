"""Publishing over S3 in memory: killed at any request, and several at once. The contract tests use a real server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.contracts.store import an_upload, append
from tests.support.fake_s3 import FakeS3, FakeS3Store
from tusd_py.contracts.locker import Locker
from tusd_py.contracts.publisher import PublishFailed
from tusd_py.contracts.store import BytesMissing
from tusd_py.locking.memory import MemoryLocker
from tusd_py.model.upload import Upload
from tusd_py.publishing.names import candidates, with_random_suffix
from tusd_py.storage.s3.attributes import ObjectAttributes
from tusd_py.storage.s3.capabilities import Capabilities
from tusd_py.storage.s3.client import Conflict
from tusd_py.storage.s3.layout import Keys
from tusd_py.storage.s3.publisher import BucketPublisher

pytestmark = pytest.mark.anyio

EVERYTHING = Capabilities(copies_parts=True, is_exclusive=True)
#: What a service has for publishing.
SERVICES = [
    pytest.param(EVERYTHING, id="everything"),
    pytest.param(replace(EVERYTHING, is_exclusive=False), id="no-conditions"),
    pytest.param(replace(EVERYTHING, copies_parts=False), id="no-copies-of-parts"),
]


class Killed(BaseException):
    """The death of the process, for the code that it stops."""


class MortalS3(FakeS3):
    """Kills the process before or after its n-th request has reached S3, and lets none follow."""

    left = 0  # not counted
    is_done = False

    async def call(self, operation: str, **arguments: Any) -> Any:
        if self.left < 0:
            raise Killed
        if self.left == 0:
            return await super().call(operation, **arguments)
        self.left -= 1
        if self.left:
            return await super().call(operation, **arguments)
        self.left = -1
        if self.is_done:
            await super().call(operation, **arguments)
        raise Killed


def a_publisher(fake: FakeS3, service: Capabilities = EVERYTHING, locker: Locker | None = None) -> BucketPublisher:
    async def capabilities() -> Capabilities:
        # Other uploads take their turn here.
        await asyncio.sleep(0)
        return service

    return BucketPublisher(
        source=fake,
        target=fake,
        keys=Keys(""),
        attributes=ObjectAttributes(),
        prefix="pub/",
        name=lambda _: "report.txt",
        candidates=candidates,
        suffixed=with_random_suffix,
        locker=locker or MemoryLocker(),
        capabilities=capabilities,
    )


async def publish(publisher: BucketPublisher, upload: Upload, store: FakeS3Store) -> str:
    await publisher.prepare(upload, store)
    path = await publisher.place(upload)
    await publisher.cleanup(upload)
    return path


def published(fake: FakeS3) -> dict[str, bytes]:
    return {key.removeprefix("pub/"): body for key, body in fake.objects.items() if key.startswith("pub/")}


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("size", [0, 250])
@pytest.mark.parametrize("service", SERVICES)
async def test_killed_at_any_request(service: Capabilities, size: int, *, is_done: bool) -> None:
    """Whatever was done, another attempt leaves exactly one object, and nothing else."""
    for number in range(1, 40):
        fake = MortalS3()
        fake.is_done = is_done
        store = FakeS3Store(fake)
        upload = await append(store, an_upload(), [b"x" * size])
        fake.left = number
        killed = False
        try:
            await publish(a_publisher(fake, service), upload, store)
        except* Killed:
            killed = True
        fake.left = 0
        path = await publish(a_publisher(fake, service), upload, store)
        assert published(fake) == {path: b"x" * size}
        # One without parts is left if the process dies before it is noted: it takes no space.
        assert not [parts for _, parts in fake.multiparts.values() if parts]
        assert not [key for key in fake.objects if key.startswith("publishing/")]
        if not killed:
            assert number > 5
            return
    raise AssertionError("an attempt has fewer requests")


@pytest.mark.parametrize("service", SERVICES)
async def test_many_at_once_under_one_name(service: Capabilities) -> None:
    """Each has a name of its own with its own bytes, and a foreign object stays."""
    fake = FakeS3()
    fake.objects["pub/report.txt"] = b"foreign"
    store, publisher = FakeS3Store(fake), a_publisher(fake, service)
    uploads = [await append(store, an_upload(f"u{number}"), [b"%d" % number]) for number in range(15)]

    async def one(upload: Upload) -> str:
        while True:
            try:
                return await publish(publisher, upload, store)
            except PublishFailed:
                await asyncio.sleep(0)

    paths = await asyncio.gather(*map(one, uploads))
    expected = {path: b"%d" % number for number, path in enumerate(paths)}
    assert published(fake) == {"report.txt": b"foreign", **expected}


class LateS3(FakeS3):
    """Looks whether a key is free, and writes later."""

    async def call(self, operation: str, **arguments: Any) -> Any:
        if operation == "complete_multipart_upload" and arguments.pop("IfNoneMatch", None):
            if arguments["Key"] in self.objects:
                raise Conflict("an object has this key already")
            await asyncio.sleep(0.001)
        return await super().call(operation, **arguments)


async def test_service_that_looks_first_and_writes_later() -> None:
    """SeaweedFS 4.48 does so: workers do not complete at once under one name, so nothing is replaced."""
    fake, locker = LateS3(), MemoryLocker()
    store = FakeS3Store(fake)
    uploads = [await append(store, an_upload(f"u{number}"), [b"%d" % number]) for number in range(4)]
    paths = await asyncio.gather(*(publish(a_publisher(fake, locker=locker), each, store) for each in uploads))
    assert published(fake) == {path: b"%d" % number for number, path in enumerate(paths)}


async def test_bytes_that_are_gone() -> None:
    """It is not tried again for ever."""
    fake = FakeS3()
    store = FakeS3Store(fake)
    upload = await append(store, an_upload(), [b"1"])
    fake.objects.clear()
    with pytest.raises(BytesMissing):
        await a_publisher(fake).prepare(upload, store)


async def test_more_than_5_gib_needs_copies_of_parts() -> None:
    """It is tried again: the operator may change the service."""
    fake = FakeS3()
    upload = replace(an_upload(), offset=6 * 1024**3)
    with pytest.raises(PublishFailed, match="copies no parts"):
        await a_publisher(fake, replace(EVERYTHING, copies_parts=False)).prepare(upload, FakeS3Store(fake))
