"""Bytes that no record names go; whatever has a record or a lock stays."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.harness import UploadsHarness
from tests.support.processing import with_ports
from tusd_py.contracts.hooks import HookEvent, HookResponse
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.model.hooks import Hook
from tusd_py.storage.disk.store import DiskStore
from tusd_py.uploads.leftovers import remove_leftovers

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[UploadsHarness]:
    harness = UploadsHarness(store=DiskStore(tmp_path / "uploads"))
    with_ports(harness, new_id=lambda: os.urandom(16).hex())
    yield harness
    await harness.store.close()


async def killed_creation(harness: UploadsHarness, upload_id: str) -> None:
    """What ``kill -9`` leaves of a creation before its record is saved."""
    made = (await harness.create(10, b"0123")).upload
    await harness.records.delete(made)
    (path,) = {Path(harness.store.location(made)["Path"])}
    os.rename(path, path.with_name(upload_id))


def age(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)


async def test_killed_creation_is_removed(harness: UploadsHarness, tmp_path: Path) -> None:
    """After their time its bytes go; those of recorded uploads, tombstones included, and of locked ids stay."""
    kept, ended = [(await harness.create(10, b"0123")).upload for _ in range(2)]
    await harness.terminate(ended.id)
    lost, busy = "a" * 32, "b" * 32
    await killed_creation(harness, lost)
    await killed_creation(harness, busy)
    assert 0 == await remove_leftovers(harness.ports, harness.clock() - 400 * 365 * DAY), "too young"
    age(tmp_path / "uploads")
    lock = await harness.locker.try_acquire(busy)
    assert lock is not None
    assert 1 == await remove_leftovers(harness.ports, harness.clock())
    assert {kept.id, busy} == set(os.listdir(tmp_path / "uploads"))
    await lock.release()
    assert 1 == await remove_leftovers(harness.ports, harness.clock())
    assert [kept.id] == os.listdir(tmp_path / "uploads")


async def test_path_of_a_killed_creation_is_free_again(tmp_path: Path) -> None:
    """A path that a hook chose is released with its file, and so can be chosen by the next upload."""

    async def choose(event: HookEvent) -> HookResponse:
        return HookResponse(storage_path="2026/cat.png")

    harness = UploadsHarness(store=DiskStore(tmp_path / "uploads"), functions={Hook.PRE_CREATE: choose})
    made = (await harness.create(10, b"0123")).upload
    await harness.records.delete(made)
    age(tmp_path / "uploads")
    assert 1 == await remove_leftovers(harness.ports, harness.clock())
    assert [] == [path for path in (tmp_path / "uploads").rglob("*") if not path.is_dir()]
    again = (await harness.create(10, b"0123")).upload
    age(tmp_path / "uploads")
    assert 0 == await remove_leftovers(harness.ports, harness.clock())
    assert b"0123" == Path(harness.store.location(again)["Path"]).read_bytes()
    await harness.store.close()


async def test_disk_failure_is_no_end(harness: UploadsHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One id that cannot be removed does not keep the others."""
    for letter in "abc":
        await killed_creation(harness, letter * 32)
    age(tmp_path / "uploads")
    real = DiskStore.purge

    async def purge(self: DiskStore, upload_id: str) -> None:
        if upload_id == "b" * 32:
            raise StoreUnavailable("the disk failed")
        await real(self, upload_id)

    monkeypatch.setattr(DiskStore, "purge", purge)
    assert 2 == await remove_leftovers(harness.ports, harness.clock())
    assert ["b" * 32] == os.listdir(tmp_path / "uploads")


async def test_chosen_id_of_a_killed_creation_is_free_again(tmp_path: Path) -> None:
    """An id that a hook chose without a path: its file goes like any other, and can be created again even before."""

    async def choose(event: HookEvent) -> HookResponse:
        return HookResponse(upload_id="cat-1")

    harness = UploadsHarness(store=DiskStore(tmp_path / "uploads"), functions={Hook.PRE_CREATE: choose})
    for _ in range(2):
        made = (await harness.create(10, b"0123")).upload
        await harness.records.delete(made)
    age(tmp_path / "uploads")
    assert 1 == await remove_leftovers(harness.ports, harness.clock())
    assert [] == [path for path in (tmp_path / "uploads").rglob("*") if not path.is_dir()]
    await harness.store.close()
