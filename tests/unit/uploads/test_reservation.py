"""Uploads at paths that pre-create chose: however a creation ends, a path belongs to an upload or is free."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.faults.failing import FailingRecords, FailingStore, Faults
from tests.support.harness import FakeBody, UploadsHarness
from tests.support.processing import a_harness, with_ports
from tests.unit.uploads.cancelling import cancel_at
from tusd_py.contracts.hooks import HookHandler, HookResponse
from tusd_py.contracts.job_queue import LeaseLost
from tusd_py.contracts.records import RecordConflict, RecordExists, RecordsError
from tusd_py.contracts.store import PATH, PathTaken, StoreError
from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import JobState
from tusd_py.model.upload import Kind, Upload
from tusd_py.protocol.rules import Limits
from tusd_py.records.memory import MemoryRecords
from tusd_py.storage.disk.store import DiskStore
from tusd_py.uploads.expire import sweep
from tusd_py.uploads.processing.validate import validate
from tusd_py.uploads.reservation import delete_unrecorded
from tusd_py.validation.validator import RuleValidator

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


def choosing(upload_id: str) -> HookHandler:
    """A pre-create hook that always chooses this id."""
    return UploadsHarness(functions={Hook.PRE_CREATE: lambda _: HookResponse(upload_id=upload_id)}).ports.hooks


async def waiting_jobs(harness: UploadsHarness) -> list[str]:
    job_queue = harness.ports.job_queue
    assert job_queue is not None
    jobs = await job_queue.list_jobs(states=(JobState.WAITING,), upload_id="mine", limit=9)
    return [job.actor for job in jobs]


async def test_id_of_ended_upload_has_a_new_life(tmp_path: Path) -> None:
    """An id that a hook chooses again has its own jobs, and goes on with the tokens of its tombstone, if there is one.

    While work of the earlier upload is left, the id is refused.
    """
    steps, limits = ("validation",), Limits(requires_validation=True)
    async with a_harness(tmp_path, steps=steps, validator=RuleValidator(rules=()), limits=limits) as harness:
        with_ports(harness, hooks=choosing("mine"))
        seen: list[Upload] = []
        for way in ("first", "replaces the tombstone", "after the tombstone"):
            upload = (await harness.create(3, b"abc")).upload
            assert await waiting_jobs(harness) == ["validation"], way
            if way == "replaces the tombstone":
                assert upload.token > seen[-1].token
                with pytest.raises(RecordConflict):
                    await harness.records.update(seen[0], seen[0])
            with pytest.raises(RecordExists):
                await harness.create(3, b"xyz")
            await harness.terminate("mine")
            with pytest.raises(RecordExists):
                await harness.create(3, b"xyz")
            await run_jobs(harness)
            ended = await harness.record("mine")
            assert ended is not None
            seen += [upload, ended]
            harness.clock.move(1)
            if way == "replaces the tombstone":
                harness.clock.move(2 * harness.ports.policy.tombstone_seconds)
                await sweep(harness.ports)
                assert await harness.record("mine") is None


async def run_jobs(harness: UploadsHarness) -> None:
    """Run the jobs that are due, as a worker does."""
    job_queue = harness.ports.job_queue
    assert job_queue is not None
    for job in await job_queue.claim(harness.clock(), harness.clock() + timedelta(seconds=30), 9):
        await validate(harness.ports, job)
        with suppress(LeaseLost):
            await job_queue.complete(job, harness.clock())


async def test_tombstone_is_not_the_record_of_the_new_upload() -> None:
    """A creation that was cancelled before it replaced the tombstone leaves no bytes; one that did keeps its bytes."""
    harness = UploadsHarness(functions={Hook.PRE_CREATE: lambda _: HookResponse(upload_id="mine")})
    await harness.create(3, b"abc")
    tombstone = (await harness.terminate("mine")).upload
    upload = (await harness.create(3, b"abc")).upload
    assert upload.token > tombstone.token
    await delete_unrecorded(harness.ports, upload)
    assert await harness.content("mine") == b"abc"
    await harness.records.delete(upload)
    await harness.records.insert(tombstone)
    await delete_unrecorded(harness.ports, upload)
    assert await harness.store.size(upload) == 0


@pytest.mark.parametrize("body", [(), (b"",), (b"0123",)])
async def test_reservation_id_named_like_a_directory(tmp_path: Path, body: tuple[bytes, ...]) -> None:
    """An id is refused at its creation if a directory has its name: one of a path remains after its uploads."""
    response = HookResponse(storage_path="team/cat.png")

    harness = UploadsHarness(store=DiskStore(tmp_path / "uploads"), functions={Hook.PRE_CREATE: lambda _: response})
    await harness.terminate((await harness.create(4, b"0123")).upload.id)
    response = HookResponse(upload_id="team")
    with pytest.raises(PathTaken):
        await harness.create(4, *body)
    assert await harness.record("team") is None
    response = HookResponse(upload_id="other")
    await harness.create(4, *body)
    response = HookResponse(storage_path="other/cat.png")
    with pytest.raises(PathTaken):
        await harness.create(4, *body)
    await harness.terminate("other")
    await harness.create(4, *body)
    await harness.store.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("upload_id", ["README", "0123456789abcdef" * 2])
async def test_chosen_id_of_a_foreign_file(tmp_path: Path, way: str, upload_id: str) -> None:
    """A hook that chooses the name of an operator's own file is refused; the file does not change."""
    chosen: list[str | None] = [None]
    harness = UploadsHarness(
        store=DiskStore(tmp_path / "uploads"),
        functions={Hook.PRE_CREATE: lambda _: HookResponse(upload_id=chosen[0])},
    )
    part = (await harness.create(1, b"0", kind=Kind.PARTIAL)).upload.id
    (tmp_path / "uploads" / upload_id).write_bytes(b"mine")
    chosen[0] = upload_id
    bodies: dict[str, dict[str, Any]] = {
        "nothing": {"length": 2},
        "empty": {"length": 0},
        "body": {"length": 3, "body": FakeBody(b"0", b"1", b"2")},
    }
    for _ in range(2):
        with pytest.raises((RecordExists, PathTaken)):
            await harness.create(**bodies.get(way, {"length": None, "kind": Kind.FINAL, "parts": [part]}))
        await harness.drain()
    assert b"mine" == (tmp_path / "uploads" / upload_id).read_bytes()
    await harness.store.close()


async def test_chosen_id_again_after_a_directory_took_its_name(tmp_path: Path) -> None:
    """The upload ended, then a path that a hook chose made a directory of its name: 409, no fault of the disk."""
    answers = [HookResponse(upload_id="team"), HookResponse(storage_path="team/a"), HookResponse(upload_id="team")]
    harness = UploadsHarness(
        store=DiskStore(tmp_path / "uploads"), functions={Hook.PRE_CREATE: lambda _: answers.pop(0)}
    )
    await harness.terminate((await harness.create(1, b"0")).upload.id)
    await harness.create(1, b"0")
    with pytest.raises(PathTaken):
        await harness.create(1, b"0")
    await harness.store.close()
