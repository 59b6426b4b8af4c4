"""Uploads at paths that pre-create chose: however a creation ends, a path belongs to an upload or is free."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.faults.failing import FailingRecords, FailingStore, Faults
from tests.support.harness import FakeBody, UploadsHarness
from tests.unit.uploads.cancelling import cancel_at
from tusd_py.contracts.hooks import HookResponse
from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.store import PATH, PathTaken, StoreError
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Kind, Upload
from tusd_py.records.memory import MemoryRecords
from tusd_py.storage.disk.store import DiskStore

pytestmark = pytest.mark.anyio

WAYS = ["nothing", "empty", "body", "final", "final of an unfinished one"]


@dataclass
class CreationsAtPaths:
    """The use cases with a pre-create hook that chooses the next path, over a disk that can fail."""

    folder: Path
    faults: Faults = field(default_factory=Faults)
    chosen_path: str | None = None

    def __post_init__(self) -> None:
        self.store = DiskStore(self.folder)
        self.harness = UploadsHarness(
            store=FailingStore(self.store, self.faults),
            records=FailingRecords(MemoryRecords(), self.faults),
            functions={Hook.PRE_CREATE: lambda _: HookResponse(storage_path=self.chosen_path)},
        )

    async def create(self, way: str, path: str | None) -> Upload:
        self.chosen_path = path
        if way == "nothing":
            return (await self.harness.create(2)).upload
        if way == "empty":
            return (await self.harness.create(0)).upload
        if way == "body":
            return (await self.harness.create(3, body=FakeBody(b"0", b"1", b"2"))).upload
        return (await self.harness.create(None, kind=Kind.FINAL, parts=[self.part])).upload

    async def prepare(self, way: str) -> None:
        if way.startswith("final"):
            self.chosen_path = None
            body = [] if way.endswith("one") else [b"0"]
            self.part = (await self.harness.create(1, *body, kind=Kind.PARTIAL)).upload.id

    async def check(self) -> None:
        """Every file and every reservation has a record."""
        await self.harness.drain()
        reservations = self.folder / ".claims"
        for reservation in reservations.iterdir() if reservations.exists() else ():
            upload = await self.harness.record(reservation.readlink().parts[0])
            assert upload is not None and PATH in upload.storage
        files = [path for path in self.folder.glob("p/*") if path.is_file()]
        for file in files:
            assert (reservations.exists() and len(list(reservations.iterdir()))) == len(files), file


@pytest.mark.parametrize("way", WAYS)
async def test_reservation_failed_creation_frees_path(way: str, tmp_path: Path) -> None:
    """Whichever operation of store or records fails, a path without a record can be used by the next creation."""
    creations = CreationsAtPaths(tmp_path / "uploads")
    for nth in range(1, 100):
        await creations.prepare(way)
        creations.faults.nth, creations.faults.seen = nth, 0
        try:
            await creations.create(way, f"p/{nth}.bin")
            failed = False
        except (StoreError, RecordsError):
            failed = True
        struck, creations.faults.nth = creations.faults.struck, 0
        await creations.check()
        # A final upload was recorded before its parts were looked at once more: it waits for them, and for its expiry.
        is_recorded = (tmp_path / "uploads" / "p" / f"{nth}.bin").exists()
        assert not (failed and is_recorded) or way == WAYS[-1]
        if failed and not is_recorded:
            await creations.prepare(way)
            await creations.create(way, f"p/{nth}.bin")
        if not struck:
            assert nth > 1
            await creations.harness.store.close()
            return
    pytest.fail("it never passed")


@pytest.mark.parametrize("way", WAYS)
async def test_reservation_cancelled_creation_frees_path(way: str, tmp_path: Path) -> None:
    """No file is left at a path without a record."""
    creations = CreationsAtPaths(tmp_path / "uploads")
    for nth in range(1, 100):
        await creations.prepare(way)
        cancelled = await cancel_at(creations.create(way, f"p/{nth}.bin"), nth)
        await creations.check()
        if not cancelled:
            assert nth > 1
            await creations.harness.store.close()
            return
    pytest.fail("it never passed")


async def test_reservation_reclaimed_after_crash(tmp_path: Path) -> None:
    """A reservation without a record is reclaimed by the next creation, unless its creation is still running."""
    creations = CreationsAtPaths(tmp_path / "uploads")
    crashed = replace(await creations.create("nothing", None), id="crashed", storage={PATH: "p/x.pdf"})
    await creations.store.create(crashed)
    (tmp_path / "uploads" / "p" / "x.pdf").write_bytes(b"left behind")
    making = await creations.harness.locker.try_acquire("crashed")
    assert making is not None
    with pytest.raises(PathTaken):
        await creations.create("body", "p/x.pdf")
    await making.release()
    upload = await creations.create("body", "p/x.pdf")
    assert await creations.harness.content(upload.id) == (tmp_path / "uploads" / "p" / "x.pdf").read_bytes() == b"012"
    await creations.store.delete(crashed)
    assert await creations.harness.content(upload.id) == b"012"
    with pytest.raises(PathTaken):
        await creations.create("nothing", "p/x.pdf")
    await creations.harness.store.close()


async def test_reservation_taken_path_refused(tmp_path: Path) -> None:
    """The creation is refused before its body is read, and the upload at the path continues."""
    creations = CreationsAtPaths(tmp_path / "uploads")
    first = await creations.create("nothing", "p/x.pdf")
    body = FakeBody(b"evil")
    with pytest.raises(PathTaken):
        await creations.harness.create(4, body=body)
    assert await body.read() == [b"evil"]
    assert (await creations.harness.append(first.id, 0, b"01")).upload.storage == {PATH: "p/x.pdf"}
    assert (tmp_path / "uploads" / "p" / "x.pdf").read_bytes() == b"01"
    await creations.harness.store.close()
