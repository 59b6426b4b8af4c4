"""What every store must do. A backend inherits ``StoreContract`` and accesses its medium directly for the tests."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.content import content
from tusd_py.contracts.store import BytesMissing, Store, StoreError, StoreFull
from tusd_py.model.upload import Upload

KIB = 1024
MIB = 1024 * KIB
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def an_upload(upload_id: str = "an-upload", offset: int = 0) -> Upload:
    return Upload(id=upload_id, length=None, offset=offset, created_at=NOW, updated_at=NOW)


def cut(body: bytes | memoryview, piece_bytes: int) -> list[bytes]:
    return [bytes(body[start : start + piece_bytes]) for start in range(0, len(body), piece_bytes)]


async def append(store: Store, upload: Upload, pieces: Sequence[bytes], *, durable: bool = True) -> Upload:
    """Store ``pieces`` one by one as a request does, and return the upload as its record would be."""
    sink = store.open(upload)
    for piece in pieces:
        await sink.write([piece])
    offset = await sink.flush(durable=durable)
    assert offset == sink.persisted_offset
    state = sink.state
    await sink.committed()
    await sink.close()
    return replace(upload, offset=offset, storage=state)


async def read(store: Store, upload: Upload, start: int = 0, stop: int | None = None) -> bytes:
    stop = upload.offset if stop is None else stop
    return b"".join([piece async for piece in store.read(upload, start, stop)])


#: Ids of which a client's spelling could be decoded once too often: separators, NUL and dot segments.
ESCAPING_IDS = (
    "..",
    ".",
    "",
    "../neighbour",
    "../store/a",
    "/a",
    "a/../b",
    "a%2fb",
    "..%2fneighbour",
    "%2e%2e%2fneighbour",
    "a%5cb",
    "..\\neighbour",
    "a%00b",
    "a\0b",
    "neighbour\0",
    "%00",
)


class StoreContract(ABC):
    """The tests. ``beneath`` and ``put_beneath`` bypass the store, as a crash or an administrator does."""

    #: Creates the event loop of the state machine; ``None`` is asyncio's. Tests use the fixture ``anyio_backend``.
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None

    @abstractmethod
    def open(self, directory: Path) -> Store: ...

    def reopen(self, store: Store, directory: Path) -> Store:
        """What a restart opens; of a medium that ends with its process, the same."""
        return self.open(directory)

    @abstractmethod
    def beneath(self, store: Store, upload_id: str) -> bytes | None: ...

    @abstractmethod
    def put_beneath(self, store: Store, upload_id: str, stored: bytes) -> None: ...

    @abstractmethod
    def small(self, directory: Path, room_bytes: int) -> AbstractContextManager[Store]:
        """A store whose medium has room for about so many bytes."""

    @pytest.mark.parametrize("piece_bytes", [1000, 64 * KIB, 700_001, 3 * MIB])
    @pytest.mark.parametrize("length", [1, 4 * KIB, 64 * KIB, MIB, 3 * MIB + 17])
    @pytest.mark.anyio
    async def test_stores_pieces_of_any_size(self, tmp_path: Path, length: int, piece_bytes: int) -> None:
        """Whatever the pieces, the medium has exactly the given bytes, and the offset says so."""
        store, body = self.open(tmp_path / "bytes"), bytes(content(1, length))
        upload = await append(store, an_upload(), cut(body, piece_bytes))
        assert upload.offset == length
        assert self.beneath(store, upload.id) == body
        assert await store.size(upload) == length
        assert await read(store, upload) == body
        await store.close()

    @pytest.mark.parametrize("is_flushed", [False, True])
    @pytest.mark.parametrize("offset", [0, 1000])
    @pytest.mark.anyio
    async def test_discarded_bytes_leave_the_medium(self, tmp_path: Path, offset: int, is_flushed: bool) -> None:
        """What a refused body brought is removed, written or not; what was recorded stays and can be continued."""
        store, body = self.open(tmp_path / "bytes"), bytes(content(3, offset + MIB))
        upload = an_upload() if offset == 0 else await append(store, an_upload(), [body[:offset]])
        sink = store.open(upload)
        await sink.write([body[offset:]])
        if is_flushed:
            await sink.flush()
        await sink.discard(offset)
        await sink.close()
        assert await store.size(upload) == offset
        upload = await append(store, upload, [body[offset:]])
        assert self.beneath(store, upload.id) == body
        await store.close()

    @pytest.mark.anyio
    async def test_stores_thousands_of_tiny_pieces(self, tmp_path: Path) -> None:
        """Pieces of a single byte, with empty ones between them, are stored in order."""
        store, body = self.open(tmp_path / "bytes"), bytes(content(2, 5000))
        sink = store.open(an_upload())
        await sink.write([b"", *cut(body[:3000], 1), b""])
        for piece in cut(body[3000:], 1):
            await sink.write([piece, b""])
        assert await sink.flush() == 5000
        await sink.close()
        assert self.beneath(store, "an-upload") == body
        await store.close()

    @pytest.mark.anyio
    async def test_stores_nothing_before_the_first_byte(self, tmp_path: Path) -> None:
        """``create``, ``open`` and ``close`` leave no bytes; an unknown upload has none."""
        store = self.open(tmp_path / "bytes")
        await store.create(an_upload())
        sink = store.open(an_upload())
        await sink.close()
        assert not self.beneath(store, "an-upload")
        assert await store.size(an_upload()) == 0
        await store.close()

    @pytest.mark.anyio
    async def test_empty_upload_exists_after_a_durable_flush(self, tmp_path: Path) -> None:
        """It exists on the medium and reads as nothing."""
        store = self.open(tmp_path / "bytes")
        upload = await append(store, an_upload(), [])
        assert self.beneath(store, upload.id) == b""
        assert await read(store, upload) == b""
        await store.close()

    @pytest.mark.anyio
    async def test_continues_at_the_offset(self, tmp_path: Path) -> None:
        """Several requests, with flushes in between, add up to the whole."""
        store, body = self.open(tmp_path / "bytes"), bytes(content(3, 2 * MIB))
        upload = await append(store, an_upload(), cut(body[: MIB + 5], 50_000), durable=False)
        sink = store.open(upload)
        await sink.write([body[MIB + 5 : MIB + 9]])
        assert await sink.flush() == MIB + 9
        await sink.write([body[MIB + 9 : MIB + 100]])
        assert await sink.flush(durable=True) == MIB + 100
        assert await sink.flush(durable=True) == MIB + 100
        await sink.write([body[MIB + 100 :]])
        assert await sink.flush(durable=True) == len(body)
        await sink.close()
        assert self.beneath(store, upload.id) == body
        await store.close()

    @pytest.mark.anyio
    async def test_bytes_after_the_offset_do_not_count(self, tmp_path: Path) -> None:
        """New bytes overwrite them, and none trail a durable end."""
        store = self.open(tmp_path / "bytes")
        upload = await append(store, an_upload(), [b"kept "], durable=False)
        self.put_beneath(store, upload.id, b"kept and then what a crash left behind")
        upload = await append(store, upload, [b"new"])
        assert self.beneath(store, upload.id) == b"kept new"
        self.put_beneath(store, "other", b"left of an upload whose record says nothing came")
        assert (await append(store, an_upload("other"), [])).offset == 0
        assert self.beneath(store, "other") == b""
        await store.close()

    @pytest.mark.anyio
    async def test_missing_bytes_raise_bytes_missing(self, tmp_path: Path) -> None:
        """If the medium has fewer bytes than recorded, nothing is written and ``persisted_offset`` says how many."""
        store = self.open(tmp_path / "bytes")
        self.put_beneath(store, "short", b"only these")
        sink = store.open(an_upload("short", offset=100))
        with pytest.raises(BytesMissing):
            await sink.write([b"more"])
            await sink.flush()
        assert sink.persisted_offset == 10
        with pytest.raises(BytesMissing):
            await sink.flush()
        await sink.close()
        assert self.beneath(store, "short") == b"only these"
        with pytest.raises(BytesMissing):
            await append(store, an_upload("gone", offset=1), [b"more"])
        assert not self.beneath(store, "gone")
        await store.close()

    @pytest.mark.anyio
    async def test_committed_keeps_recorded_bytes(self, tmp_path: Path) -> None:
        """``committed`` after a save, even twice or without new bytes, loses nothing of what the record names."""
        store, body = self.open(tmp_path / "bytes"), bytes(content(13, 300_000))
        upload = await append(store, an_upload(), [b"earlier "], durable=False)
        sink = store.open(upload)
        await sink.committed()
        for start in range(0, len(body), 100_000):
            await sink.write([body[start : start + 100_000]])
            offset = await sink.flush()
            upload = replace(upload, offset=offset, storage=sink.state)
            await sink.committed()
            await sink.committed()
            assert (await store.size(upload), await read(store, upload)) == (offset, b"earlier " + body[: offset - 8])
        await sink.close()
        await store.close()
        reopened = self.reopen(store, tmp_path / "bytes")
        assert await read(reopened, upload) == b"earlier " + body
        await reopened.close()

    @pytest.mark.anyio
    async def test_committed_after_a_failure_raises_nothing(self, tmp_path: Path) -> None:
        """A sink that has failed accepts ``committed``: the record was saved with what is stored."""
        store = self.open(tmp_path / "bytes")
        self.put_beneath(store, "short", b"only these")
        sink = store.open(an_upload("short", offset=100))
        with pytest.raises(BytesMissing):
            await sink.flush(durable=True)
        await sink.committed()
        await sink.close()
        assert self.beneath(store, "short") == b"only these"
        await store.close()

    @pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 1), (17, 18), (0, 2 * MIB), (300_000, MIB + 1), (5, 5)])
    @pytest.mark.anyio
    async def test_reads_ranges(self, tmp_path: Path, start: int, stop: int) -> None:
        """A range is returned exactly, in pieces of bounded size, none empty."""
        store, body = self.open(tmp_path / "bytes"), bytes(content(4, 2 * MIB))
        upload = await append(store, an_upload(), cut(body, 64 * KIB))
        pieces = [piece async for piece in store.read(upload, start, stop)]
        assert b"".join(pieces) == body[start:stop]
        assert all(0 < len(piece) <= MIB for piece in pieces)
        await store.close()

    @pytest.mark.anyio
    async def test_reading_missing_bytes_raises_bytes_missing(self, tmp_path: Path) -> None:
        """A read never silently returns fewer bytes than asked, even if they go missing while it runs."""
        store = self.open(tmp_path / "bytes")
        with pytest.raises(BytesMissing):
            await read(store, an_upload("gone", offset=1))
        body = bytes(content(5, MIB))
        upload = await append(store, an_upload(), [body])
        async with aclosing(store.read(upload, 0, MIB)) as pieces:
            taken = await anext(pieces)
            self.put_beneath(store, upload.id, body[: len(taken)])
            with pytest.raises(BytesMissing):
                await anext(pieces)
        self.put_beneath(store, upload.id, b"cut")
        with pytest.raises(BytesMissing):
            await read(store, upload)
        await store.close()

    @pytest.mark.anyio
    async def test_reads_while_more_is_written(self, tmp_path: Path) -> None:
        """Bytes of an earlier request can be read while another request adds to them."""
        store = self.open(tmp_path / "bytes")
        upload = await append(store, an_upload(), [b"first"], durable=False)
        sink = store.open(upload)
        await sink.write([b" second" * 100_000])
        assert await read(store, upload) == b"first"
        await sink.flush()
        await sink.close()
        assert await read(store, upload) == b"first"
        await store.close()

    @pytest.mark.anyio
    async def test_concatenates_parts_in_order(self, tmp_path: Path) -> None:
        """The result is the bytes of the parts in the given order, repeated parts too; the parts are unchanged."""
        store = self.open(tmp_path / "bytes")
        bodies = [bytes(content(seed, length)) for seed, length in ((6, 3), (7, MIB + 1), (8, 0), (9, 70_000))]
        parts = [await append(store, an_upload(f"part-{n}"), [body]) for n, body in enumerate(bodies)]
        await store.concatenate(an_upload("final"), [*parts, parts[0]])
        assert self.beneath(store, "final") == b"".join([*bodies, bodies[0]])
        assert [self.beneath(store, part.id) for part in parts] == bodies
        await store.concatenate(an_upload("nothing"), [])
        assert self.beneath(store, "nothing") == b""
        await store.close()

    @pytest.mark.anyio
    async def test_concatenation_replaces_and_uses_recorded_bytes_only(self, tmp_path: Path) -> None:
        """An earlier attempt is replaced, and bytes of a part after its offset are not copied."""
        store = self.open(tmp_path / "bytes")
        part = await append(store, an_upload("part"), [b"recorded"])
        self.put_beneath(store, "part", b"recorded and more")
        self.put_beneath(store, "final", b"half of an earlier try that a crash has ended")
        await store.concatenate(an_upload("final"), [part, part])
        assert self.beneath(store, "final") == b"recordedrecorded"
        await store.close()

    @pytest.mark.anyio
    async def test_concatenation_of_a_missing_part_leaves_nothing(self, tmp_path: Path) -> None:
        """A part that is missing or too short fails it, and the final upload has no bytes."""
        store = self.open(tmp_path / "bytes")
        whole = await append(store, an_upload("whole"), [bytes(content(10, 100_000))])
        self.put_beneath(store, "short", b"too short")
        for broken in (an_upload("gone", offset=9), an_upload("short", offset=10)):
            with pytest.raises(BytesMissing):
                await store.concatenate(an_upload("final"), [whole, broken])
            assert not self.beneath(store, "final")
        await store.close()

    @pytest.mark.anyio
    @pytest.mark.parametrize("upload_id", ESCAPING_IDS)
    async def test_escaping_id_reaches_nothing_else(self, tmp_path: Path, upload_id: str) -> None:
        """An id that a decoding of its path could turn into another is refused, or is an upload of its own."""
        (tmp_path / "neighbour").write_bytes(b"outside")
        store = self.open(tmp_path / "store")
        neighbours = [await append(store, an_upload(name), [name.encode()]) for name in ("neighbour", "a", "b", "ab")]
        refusals = (ValueError, StoreError)
        with suppress(*refusals):
            escaping = await append(store, an_upload(upload_id), [b"escaping"])
            assert await read(store, escaping) == b"escaping"
        with suppress(*refusals):
            await store.concatenate(an_upload(upload_id), [neighbours[1], neighbours[2]])
        with suppress(*refusals):
            assert await store.size(an_upload(upload_id)) in (0, len(b"escaping"), len(b"ab"))
        with suppress(*refusals):
            await store.delete(an_upload(upload_id))
        for neighbour in neighbours:
            assert await read(store, neighbour) == neighbour.id.encode()
        assert {path.name for path in tmp_path.iterdir()} <= {"neighbour", "store"}
        assert (tmp_path / "neighbour").read_bytes() == b"outside"
        await store.close()

    @pytest.mark.anyio
    async def test_deletes(self, tmp_path: Path) -> None:
        """Deleted bytes are gone and others stay; deleting again is no error; the id can be used again."""
        store = self.open(tmp_path / "bytes")
        for name in ("one", "other"):
            await append(store, an_upload(name), [b"bytes of " + name.encode()])
        await store.delete(an_upload("one"))
        await store.delete(an_upload("one"))
        await store.delete(an_upload("never"))
        assert self.beneath(store, "one") is None
        assert await store.size(an_upload("one")) == 0
        assert self.beneath(store, "other") == b"bytes of other"
        await append(store, an_upload("one"), [b"anew"])
        assert self.beneath(store, "one") == b"anew"
        await store.close()

    @pytest.mark.parametrize("turns", range(6))
    @pytest.mark.anyio
    async def test_cancelled_anywhere_the_offset_is_correct(self, tmp_path: Path, turns: int) -> None:
        """``persisted_offset`` counts only stored bytes, and nothing is written after ``close``."""
        store, body = self.open(tmp_path / "bytes"), bytes(content(11, 8 * MIB))
        sink = store.open(an_upload())

        async def request() -> None:
            for piece in cut(body, 300_000):
                await sink.write([piece])
            await sink.flush(durable=True)

        running = asyncio.ensure_future(request())
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await sink.close()
        safe, stored = sink.persisted_offset, self.beneath(store, "an-upload") or b""
        assert stored[:safe] == body[:safe]
        assert len(stored) >= safe
        upload = await append(store, an_upload(offset=safe), cut(body[safe:], MIB))
        assert upload.offset == len(body)
        assert self.beneath(store, "an-upload") == body
        await store.close()

    @pytest.mark.anyio
    async def test_many_uploads_at_once(self, tmp_path: Path) -> None:
        """Sixty uploads whose pieces alternate do not affect each other."""
        store = self.open(tmp_path / "bytes")
        bodies = {f"upload-{n}": bytes(content(n, 150_000 + n)) for n in range(60)}
        await asyncio.gather(*(append(store, an_upload(name), cut(body, 9973)) for name, body in bodies.items()))
        assert {name: self.beneath(store, name) for name in bodies} == bodies
        await store.close()

    @pytest.mark.anyio
    async def test_full_store_keeps_the_prefix(self, tmp_path: Path) -> None:
        """The stored prefix counts; once there is space again, the upload continues."""
        with self.small(tmp_path, 4 * MIB) as store:
            ballast = await append(store, an_upload("ballast"), [bytes(2 * MIB)])
            body = bytes(content(12, 3 * MIB))
            sink = store.open(an_upload())
            with pytest.raises(StoreFull):
                for piece in cut(body, 100_000):
                    await sink.write([piece])
                await sink.flush(durable=True)
            with pytest.raises(StoreFull):
                await sink.flush()
            safe = sink.persisted_offset
            await sink.close()
            assert MIB < safe < len(body)
            stored = self.beneath(store, "an-upload")
            assert stored is not None
            assert stored[:safe] == body[:safe]
            with pytest.raises(StoreFull):
                await append(store, an_upload(offset=safe), [body[safe:]])
            with pytest.raises(StoreFull):
                await store.concatenate(an_upload("final"), [ballast])
            assert not self.beneath(store, "final")
            await store.delete(ballast)
            upload = await append(store, an_upload(offset=safe), [body[safe:]])
            assert upload.offset == len(body)
            assert self.beneath(store, "an-upload") == body
            await store.close()

    @pytest.mark.anyio
    async def test_probe(self, tmp_path: Path) -> None:
        """A working store passes and keeps nothing of it; a full one raises ``StoreFull``."""
        store = self.open(tmp_path / "bytes")
        await store.probe()
        await store.close()
        with self.small(tmp_path, 4 * MIB) as small:
            with pytest.raises(StoreFull):
                await append(small, an_upload(), [bytes(5 * MIB)])
            with pytest.raises(StoreFull):
                await small.probe()
            await small.close()
