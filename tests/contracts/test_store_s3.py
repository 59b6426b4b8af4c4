"""The S3 store fulfils the contract of stores, over a real S3 server."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.store import MIB, StoreContract, an_upload, append, cut, read
from tests.contracts.store_machine import check_machine
from tests.support.content import content
from tests.support.s3 import EVERY_KIND, S3Server, running_s3
from tusd_py.contracts.store import OnProgress, Store
from tusd_py.model.upload import Upload
from tusd_py.storage.s3.client import Refused, S3Client
from tusd_py.storage.s3.state import KEY
from tusd_py.storage.s3.store import S3Store
from tusd_py.storage.s3.writer import S3Sink

# The server takes minutes to compile, and the tests make thousands of requests.
pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=EVERY_KIND)
def server(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with running_s3(request.param) as running:
        yield running


class RecordingSink(S3Sink):
    """Notes the newest state, as a record would."""

    states: dict[str, Mapping[str, object]]

    async def flush(self, *, durable: bool = False, more_follows: bool = False) -> int:
        offset = await super().flush(durable=durable, more_follows=more_follows)
        self.states[self._upload.id] = self.state
        return offset

    async def close(self) -> None:
        await super().close()
        if self.persisted_offset:
            self.states[self._upload.id] = self.state


class RecordingStore(S3Store):
    """Stands for the records: the contract's tests pass uploads without the state that the store asked to keep."""

    states: dict[str, Mapping[str, object]]

    def recorded(self, upload: Upload) -> Upload:
        return replace(upload, storage=self.states.get(upload.id, {}))

    def open(self, upload: Upload) -> S3Sink:
        sink = RecordingSink(self._resources, self.recorded(upload))
        sink.states = self.states
        return sink

    def read(self, upload: Upload, start: int, stop: int) -> Any:
        return super().read(self.recorded(upload), start, stop)

    async def size(self, upload: Upload) -> int:
        return await super().size(self.recorded(upload))

    async def concatenate(
        self, upload: Upload, parts: Sequence[Upload], on_progress: OnProgress | None = None
    ) -> Mapping[str, object]:
        for part in parts:
            # Only complete uploads are concatenated; the machine does not complete them.
            sink = self.open(part)
            await sink.flush(durable=True)
            await sink.committed()
            await sink.close()
        self.states.pop(upload.id, None)
        recorded = [self.recorded(part) for part in parts]
        self.states[upload.id] = state = await super().concatenate(upload, recorded, on_progress)
        return state

    async def delete(self, upload: Upload) -> None:
        await super().delete(self.recorded(upload))
        self.states.pop(upload.id, None)


class TestS3Store(StoreContract):
    @pytest.fixture(autouse=True)
    def use(self, server: S3Server) -> None:
        self.server = server
        self.client = server.client()
        self.states: dict[Path, dict[str, Mapping[str, object]]] = {}

    def bucket(self, directory: Path) -> str:
        name = "b" + hashlib.sha256(str(directory).encode()).hexdigest()[:20]
        if directory not in self.states:
            self.states[directory] = {}
            self.client.create_bucket(Bucket=name)
        return name

    def open(self, directory: Path) -> RecordingStore:
        # Machine and contract use up to some MiB: all of it is tails, which can be looked at.
        store = RecordingStore(self.server.account(self.bucket(directory)), part_bytes=64 * MIB)
        store.states = self.states[directory]
        return store

    @pytest.mark.skip(reason="S3 cannot remove the last parts of an unfinished upload; the next body replaces them")
    async def test_discarded_bytes_leave_the_medium(self, tmp_path: Path, offset: int, is_flushed: bool) -> None:
        """Does not apply."""

    def beneath(self, store: Store, upload_id: str) -> bytes | None:
        assert isinstance(store, RecordingStore)
        bucket = store._client.bucket
        state: Any = store.states.get(upload_id, {}).get(KEY)
        if state is not None and state.get("tails"):
            return b"".join(self.client.get_object(Bucket=bucket, Key=key)["Body"].read() for key, *_ in state["tails"])
        key = f"uploads/{upload_id}" if state is None else state["key"]
        try:
            stored: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None
        return stored

    def put_beneath(self, store: Store, upload_id: str, stored: bytes) -> None:
        """What a process leaves that was killed between the completion in S3 and the save of the record."""
        assert isinstance(store, RecordingStore)
        key = f"uploads/{upload_id}.0123456789abcdef"
        self.client.put_object(Bucket=store._client.bucket, Key=key, Body=stored)
        store.states[upload_id] = {KEY: {"key": key}}

    def small(self, directory: Path, room_bytes: int) -> AbstractContextManager[Store]:
        pytest.skip("a bucket has no size")

    @pytest.mark.anyio
    async def test_reading_missing_bytes_raises_bytes_missing(self, tmp_path: Path) -> None:
        """Objects are atomic: a read that runs is not affected by one that replaces it, so that part is left out."""
        pytest.skip("objects are replaced, not cut")

    @pytest.mark.timeout(600)
    def test_any_sequence_of_operations_agrees_with_a_dictionary(self, tmp_path: Path) -> None:
        """Any sequence of operations agrees with a dictionary of bytes."""
        check_machine(self, tmp_path)


class TestParts:
    """Uploads of more than one part."""

    @pytest.fixture
    def store(self, server: S3Server, tmp_path: Path) -> S3Store:
        self.client = server.client()
        self.name = "b" + hashlib.sha256(str(tmp_path).encode()).hexdigest()[:20]
        self.client.create_bucket(Bucket=self.name)
        return S3Store(server.account(self.name), part_bytes=5 * MIB, memory_bytes=16 * MIB)

    def beneath(self, upload_id: str) -> bytes:
        """The bytes of the only object of an upload."""
        (key,) = (key for key in self.keys() if key.startswith(f"uploads/{upload_id}."))
        stored: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return stored

    def keys(self) -> list[str]:
        return [each["Key"] for each in self.client.list_objects_v2(Bucket=self.name).get("Contents", ())]

    def names(self) -> list[str]:
        """The keys without their nonces."""
        return [key.partition(".")[0] for key in self.keys()]

    @pytest.mark.parametrize(
        "requests", [(17 * MIB,), (MIB, 3 * MIB, 9 * MIB + 5, 1), (5 * MIB, 5 * MIB), (6 * MIB, 1)]
    )
    @pytest.mark.anyio
    async def test_requests_of_any_size(self, store: S3Store, requests: tuple[int, ...]) -> None:
        """Whatever their sizes, requests add up to one object; no tail, no multipart upload and no memory is left."""
        body, upload = bytes(content(20, sum(requests))), an_upload()
        for number, count in enumerate(requests, 1):
            piece = body[upload.offset : upload.offset + count]
            upload = await append(store, upload, cut(piece, 300_000), durable=number == len(requests))
        assert self.beneath(upload.id) == body
        assert await store.size(upload) == len(body)
        assert await read(store, upload, 5 * MIB - 3, 5 * MIB + 1) == body[5 * MIB - 3 : 5 * MIB + 1]
        assert self.names() == ["uploads/an-upload"]
        assert not self.client.list_multipart_uploads(Bucket=self.name).get("Uploads")
        assert store.budget.used == 0
        await store.close()

    @pytest.mark.anyio
    async def test_many_saves_of_one_slow_body(self, store: S3Store) -> None:
        """Each save adds a tail, many are joined, and ``committed`` deletes those that no record names."""
        body, upload = bytes(content(21, 6 * MIB)), an_upload()
        sink = store.open(upload)
        for start in range(0, len(body), 100_000):
            await sink.write([body[start : start + 100_000]])
            assert await sink.flush() == min(len(body), start + 100_000)
            await sink.committed()
            assert len(self.keys()) <= 18
        assert await sink.flush(durable=True) == len(body)
        await sink.committed()
        await sink.close()
        assert self.beneath(upload.id) == body
        assert self.names() == ["uploads/an-upload"]
        await store.close()

    @pytest.fixture(params=[True, False], ids=["copies", "no-copies"])
    def copying(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """S3 copies parts, or refuses to."""
        original = S3Client.call

        async def call(self: S3Client, operation: str, **arguments: Any) -> Any:
            if operation == "upload_part_copy" and not request.param:
                raise Refused("S3 answered 501 NotImplemented")
            return await original(self, operation, **arguments)

        monkeypatch.setattr(S3Client, "call", call)

    @pytest.mark.usefixtures("copying")
    @pytest.mark.anyio
    async def test_killed_between_completion_and_save(self, store: S3Store) -> None:
        """The record names a multipart upload that is an object already: the next request continues at its offset."""
        body = bytes(content(22, 12 * MIB))
        recorded = await append(store, an_upload(), cut(body[: 11 * MIB], MIB), durable=False)
        await append(store, recorded, [body[11 * MIB :]])
        assert await store.size(recorded) >= recorded.offset
        again = await append(store, recorded, [body[11 * MIB :]])
        assert again.offset == len(body)
        assert self.beneath("an-upload") == body
        await store.delete(again)
        assert self.keys() == []
        await store.close()

    @pytest.mark.anyio
    async def test_killed_in_the_middle(self, store: S3Store, server: S3Server) -> None:
        """Parts that were sent and not recorded are sent again, by another process too."""
        body = bytes(content(23, 20 * MIB))
        recorded = await append(store, an_upload(), cut(body[: 7 * MIB], MIB), durable=False)
        lost = store.open(recorded)
        await lost.write(cut(body[7 * MIB : 18 * MIB], MIB))
        await lost.close()
        await store.close()
        other = S3Store(server.account(self.name), part_bytes=5 * MIB)
        again = await append(other, recorded, cut(body[7 * MIB :], 700_000))
        assert (again.offset, self.beneath("an-upload")) == (len(body), body)
        await other.close()

    @pytest.mark.usefixtures("copying")
    @pytest.mark.anyio
    async def test_concatenation_copies_in_the_store(self, store: S3Store) -> None:
        """Parts around the minimum size, in any order; the result is one object. Without copies too."""
        sizes = [6 * MIB, 3, 5 * MIB, 5 * MIB - 1, 2 * MIB, 11 * MIB + 7, 1]
        bodies = [bytes(content(30 + number, size)) for number, size in enumerate(sizes)]
        parts = [await append(store, an_upload(f"part-{n}"), cut(body, MIB)) for n, body in enumerate(bodies)]
        await store.concatenate(an_upload("final"), parts)
        assert self.beneath("final") == b"".join(bodies)
        await store.close()

    @pytest.mark.anyio
    async def test_termination_leaves_nothing(self, store: S3Store) -> None:
        """Parts, tails and the multipart upload are gone, whether the record knows them or not."""
        body = bytes(content(24, 7 * MIB))
        known = await append(store, an_upload("known"), cut(body, MIB), durable=False)
        await append(store, an_upload("unknown"), cut(body, MIB), durable=False)
        later = known.created_at.replace(year=2100)
        assert {upload_id async for ids in store.find_old(later) for upload_id in ids} == {"known", "unknown"}
        await store.delete(known)
        await store.purge("unknown")
        assert self.keys() == []
        assert not self.client.list_multipart_uploads(Bucket=self.name).get("Uploads")
        await store.close()

    @pytest.mark.anyio
    async def test_memory_is_bounded(self, store: S3Store) -> None:
        """Forty uploads at once use at most the budget and do not wait for each other forever."""
        most = 0

        async def one(number: int) -> None:
            nonlocal most
            upload = an_upload(f"upload-{number}")
            sink = store.open(upload)
            for piece in cut(content(number, 6 * MIB), 500_000):
                await sink.write([piece])
                most = max(most, store.budget.used)
                await asyncio.sleep(0)
            assert await sink.flush(durable=True) == 6 * MIB
            await sink.close()

        await asyncio.gather(*map(one, range(40)))
        assert all(self.beneath(f"upload-{number}") == bytes(content(number, 6 * MIB)) for number in range(40))
        assert (most <= 16 * MIB, store.budget.used) == (True, 0)
        await store.close()
