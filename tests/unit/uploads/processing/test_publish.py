"""The step ``publishing``: a file appears whole or not at all, once, and never replaces another file."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.faults.failing import FailingRecords, Faults
from tests.support.harness import UploadsHarness
from tests.support.processing import a_harness, job, with_ports
from tests.support.publishing import without_links, without_renameat2
from tusd_py.contracts.publisher import PublishFailed
from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.contracts.store import Store
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol.metadata import format_metadata
from tusd_py.publishing import placement
from tusd_py.publishing.directory import DirectoryPublisher
from tusd_py.records.sql.records import SqlRecords, needs_fsync
from tusd_py.storage.disk.store import DiskStore
from tusd_py.uploads.processing.publish import publish

CONTENT = b"what a client has sent" * 1000


pytestmark = pytest.mark.anyio


class World:
    """An upload store on disk and a directory beside it in which uploads are published."""

    def __init__(self, tmp_path: Path, harness: UploadsHarness) -> None:
        self.folder = tmp_path / "published"
        self.harness = harness
        self.publishes(links=True)

    def publishes(self, *, links: bool) -> None:
        publisher = DirectoryPublisher(directory=self.folder, pattern="{owner}/{filename}", links=links)
        with_ports(self.harness, publisher=publisher)

    async def sent(self, name: bytes = b"cat.png", content: bytes = CONTENT) -> Upload:
        made = await self.harness.create(len(content), content, metadata=format_metadata({"filename": name}))
        assert ("publishing",) == made.upload.pending_steps
        return made.upload

    async def publish(self, upload: Upload) -> Upload:
        await publish(self.harness.ports, await job(self.harness, upload.id, "publishing"))
        found = await self.harness.record(upload.id)
        assert found is not None
        return found

    def files(self) -> list[str]:
        """Every file in the directory, hidden files too."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if not path.is_dir())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_harness(tmp_path, DiskStore(tmp_path / "uploads"), steps=("publishing",)) as harness:
        yield World(tmp_path, harness)
        await harness.store.close()


@pytest.mark.parametrize("links", [True, False])
async def test_publish_link_or_copy(world: World, tmp_path: Path, links: bool) -> None:
    """The file appears under its name; its path is in the history, and nothing else is left in the directory."""
    world.publishes(links=links)
    upload = await world.sent()
    after = await world.publish(upload)
    assert (Status.READY, {"path": "nobody/cat.png"}) == (after.status, after.history[-2].details)
    published = world.folder / "nobody/cat.png"
    assert CONTENT == published.read_bytes()
    assert links is os.path.samefile(published, tmp_path / "uploads" / upload.id)
    assert ["nobody/cat.png"] == world.files()
    await world.harness.terminate(upload.id)
    assert CONTENT == published.read_bytes(), "it is the operator's now"


@pytest.mark.parametrize("links", [True, False])
async def test_publish_taken_name_gets_number(world: World, tmp_path: Path, links: bool) -> None:
    """An existing file with the name is not touched."""
    world.publishes(links=links)
    (world.folder / "nobody").mkdir(parents=True)
    (world.folder / "nobody/cat.png").write_bytes(b"older")
    for number in (2, 3):
        after = await world.publish(await world.sent())
        assert {"path": f"nobody/cat-{number}.png"} == after.history[-2].details
    assert b"older" == (world.folder / "nobody/cat.png").read_bytes()
    assert ["nobody/cat-2.png", "nobody/cat-3.png", "nobody/cat.png"] == world.files()


async def test_publish_folder_has_the_name_of_a_file(world: World) -> None:
    """Clients choose both, in any order: the later one gets another name, the same at each attempt."""
    publisher = DirectoryPublisher(directory=world.folder, pattern="{folders}/{filename}")
    with_ports(world.harness, publisher=publisher)
    paths = []
    for metadata in (
        {"filename": b"a"},
        {"filename": b"b.txt", "relativePath": b"a/b.txt"},
        {"filename": b"c.txt", "relativePath": b"d/c.txt"},
        {"filename": b"d"},
    ):
        made = await world.harness.create(len(CONTENT), CONTENT, metadata=format_metadata(metadata))
        after = await world.publish(made.upload)
        assert Status.READY is after.status
        paths.append(after.history[-2].details["path"])
    assert ["a", "d/c.txt", "d-2"] == [paths[0], paths[2], paths[3]]
    assert re.fullmatch(r"a-[a-z2-7]{8}/b\.txt", paths[1])
    assert sorted(paths) == world.files()


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("nth", range(1, 4))
async def test_publish_records_fail_published_once(world: World, tmp_path: Path, links: bool, nth: int) -> None:
    """Whether the record cannot be read or cannot be saved, the repetition finds the published file."""
    world.publishes(links=links)
    upload = await world.sent()
    sound = world.harness.ports
    with_ports(world.harness, records=FailingRecords(world.harness.records, Faults(nth=nth)))
    with pytest.raises(RecordsUnavailable):
        await world.publish(upload)
    world.harness.ports = sound
    assert Status.READY is (await world.publish(upload)).status
    assert Status.READY is (await world.publish(upload)).status, "a job that runs once more"
    assert ["nobody/cat.png"] == world.files()


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("step", ["link", "fsync", "rename", "unlink", "write"])
async def test_publish_disk_fails_retried(
    world: World, tmp_path: Path, links: bool, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No partial file is ever visible under a name, and once the disk works the upload is published once."""
    world.publishes(links=links)
    upload = await world.sent()
    real, left = getattr(os, step), [1]

    def fails(*arguments: object, **named: object) -> object:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **named)

    monkeypatch.setattr(os, step, fails)
    for _ in range(3):
        try:
            after = await world.publish(upload)
            break
        except PublishFailed as trouble:
            assert "No space left on device" in str(trouble)
            visible = [name for name in world.files() if not name.startswith(".")]
            assert all(CONTENT == (world.folder / name).read_bytes() for name in visible)
    monkeypatch.undo()
    assert Status.READY is after.status
    await world.publish(upload)
    assert ["nobody/cat.png"] == world.files()


async def test_publish_copies_if_link_fails(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another file system, or one without hard links, the file is copied."""
    upload = await world.sent()
    monkeypatch.setattr(placement.Placement, "link", lambda self, source: False)
    assert Status.READY is (await world.publish(upload)).status
    assert CONTENT == (world.folder / "nobody/cat.png").read_bytes()
    assert not os.path.samefile(world.folder / "nobody/cat.png", tmp_path / "uploads" / upload.id)


async def test_publish_ignores_bytes_beyond_offset(world: World, tmp_path: Path) -> None:
    """The record defines the length of the published file, not the stored file."""
    upload = await world.sent()
    with (tmp_path / "uploads" / upload.id).open("ab") as file:
        file.write(b"beyond")
    await world.publish(upload)
    assert CONTENT == (world.folder / "nobody/cat.png").read_bytes()


async def test_publish_missing_upload(world: World, tmp_path: Path) -> None:
    """An upload that was terminated, lost its bytes or does not exist is not published."""
    world.publishes(links=False)
    gone = await world.sent()
    await world.harness.store.delete(gone)
    after = await world.publish(gone)
    assert (Status.FAILED, "the bytes of this upload are gone") == (after.status, after.history[-1].reason)
    ended = await world.sent()
    await world.harness.terminate(ended.id)
    assert Status.TERMINATED is (await world.publish(ended)).status
    assert [] == world.files()


class TerminatesWhileCopying(DirectoryPublisher):
    """A publisher during whose work on the bytes a client sends DELETE."""

    harness: UploadsHarness

    async def prepare(self, upload: Upload, store: Store) -> None:
        await super().prepare(upload, store)
        await self.harness.terminate(upload.id)


@pytest.mark.parametrize("links", [True, False])
async def test_publish_terminated_while_copying(world: World, links: bool) -> None:
    """The file does not appear after the response that the upload is gone, and nothing of it is left."""
    world.publishes(links=links)
    publisher = world.harness.ports.publisher
    assert isinstance(publisher, DirectoryPublisher)
    deleting = TerminatesWhileCopying(directory=world.folder, pattern=publisher.pattern, links=links)
    object.__setattr__(deleting, "harness", world.harness)
    with_ports(world.harness, publisher=deleting)
    assert Status.TERMINATED is (await world.publish(await world.sent())).status
    assert [] == world.files()


@pytest.mark.parametrize("has_links", [True, False])
async def test_publish_withdrawn_on_conflict(world: World, has_links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file placed for an upload that ended in spite of the lock is taken back."""
    if not has_links:
        without_links(monkeypatch)
    upload = await world.sent()
    publisher = world.harness.ports.publisher
    assert publisher is not None
    real = DirectoryPublisher.place

    async def place(self: DirectoryPublisher, upload: Upload) -> str:
        path = await real(self, upload)
        ended = upload.with_status(Status.TERMINATED, world.harness.clock())
        await world.harness.records.update(upload, ended)
        return path

    monkeypatch.setattr(DirectoryPublisher, "place", place)
    assert Status.TERMINATED is (await world.publish(upload)).status
    assert [] == world.files()


async def test_publish_record_is_durable_before_cleanup(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a loss of power either the record or the hidden name shows that the upload is published."""
    upload = await world.sent()
    order: list[str] = []
    real_update, real_cleanup = SqlRecords.update, DirectoryPublisher.cleanup

    async def update(self: SqlRecords, before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> Upload:
        order.append("durable" if needs_fsync(before, after, effects) else "not durable")
        return await real_update(self, before, after, effects)

    async def cleanup(self: DirectoryPublisher, upload: Upload) -> None:
        order.append("cleanup")
        await real_cleanup(self, upload)

    monkeypatch.setattr(SqlRecords, "update", update)
    monkeypatch.setattr(DirectoryPublisher, "cleanup", cleanup)
    await world.publish(upload)
    assert ["durable", "cleanup"] == order


@pytest.mark.parametrize("can_rename", [True, False])
async def test_publish_without_hard_links(world: World, can_rename: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are copied and renamed, and repetitions publish nothing more."""
    without_links(monkeypatch)
    if not can_rename:
        without_renameat2(monkeypatch)
    (world.folder / "nobody").mkdir(parents=True)
    (world.folder / "nobody/cat.png").write_bytes(b"older")
    upload = await world.sent()
    sound = world.harness.ports
    with_ports(world.harness, records=FailingRecords(world.harness.records, Faults(nth=3)))
    with pytest.raises(RecordsUnavailable):
        await world.publish(upload)
    world.harness.ports = sound
    for _ in range(2):
        assert Status.READY is (await world.publish(upload)).status
    assert ["nobody/cat-2.png", "nobody/cat.png"] == world.files()
    assert CONTENT == (world.folder / "nobody/cat-2.png").read_bytes()


async def test_publish_across_a_mount(world: World, tmp_path: Path) -> None:
    """A folder below the directory may be on another file system, as a symbolic link or a mount."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    with TemporaryDirectory(dir=shared) as elsewhere:
        world.folder.mkdir()
        (world.folder / "nobody").symlink_to(elsewhere)
        assert Status.READY is (await world.publish(await world.sent())).status
        assert ["cat.png"] == os.listdir(elsewhere)
        assert CONTENT == Path(elsewhere, "cat.png").read_bytes()


async def test_publish_disabled_keeps_job(world: World, tmp_path: Path) -> None:
    """An upload that waits for publishing does not become ready without it."""
    upload = await world.sent()
    world.harness.ports = replace(world.harness.ports, publisher=None)
    with pytest.raises(PublishFailed, match="publishing is disabled"):
        await world.publish(upload)
    assert upload == await world.harness.record(upload.id)
