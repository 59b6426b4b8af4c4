"""fsck: what it finds, what it repairs, and what it leaves alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.harness import UploadsHarness
from tusd_py.model.ids import is_generated_id
from tusd_py.storage.disk.store import DiskStore
from tusd_py.uploads.fsck import Disagreement, Finding, check

pytestmark = pytest.mark.anyio

_ORPHAN = "0123456789abcdef0123456789abcdef"


async def found(harness: UploadsHarness, *, repair: bool = False) -> dict[str, Finding]:
    return {finding.upload_id: finding async for finding in check(harness.ports, repair=repair)}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


@pytest.fixture
def harness(directory: Path) -> UploadsHarness:
    return UploadsHarness(store=DiskStore(directory))


async def test_nothing_is_found_where_records_and_bytes_agree(harness: UploadsHarness) -> None:
    """Empty, unfinished and complete uploads without a fault."""
    await harness.create(5)
    await harness.create(5, b"he")
    await harness.create(5, b"hello")
    assert {} == await found(harness)


async def test_unfinished_uploads_go_back_to_their_stored_bytes(harness: UploadsHarness, directory: Path) -> None:
    """Missing and short ones are reported, and with repair continue from what is there; long ones are harmless."""
    missing, short, long = [(await harness.create(10, b"012345")).upload.id for _ in range(3)]
    (directory / missing).unlink()
    os.truncate(directory / short, 2)
    with (directory / long).open("ab") as file:
        file.write(b"xyz")
    problems = {missing: Disagreement.MISSING, short: Disagreement.SHORT, long: Disagreement.LONG}
    first = await found(harness)
    assert {name: finding.problem for name, finding in first.items()} == problems
    assert [name for name, finding in first.items() if finding.is_harmless] == [long]
    assert not any(finding.is_repaired for finding in first.values())
    assert (await harness.inspect(short)).upload.offset == 6, "nothing is changed without repair"
    assert {missing, short} == {name for name, each in (await found(harness, repair=True)).items() if each.is_repaired}
    assert [0, 2, 6] == [(await harness.inspect(name)).upload.offset for name in (missing, short, long)]
    assert (await harness.append(short, 2, b"23456789")).upload.is_complete
    assert {long} == (await found(harness)).keys()


async def test_complete_uploads_are_reported_only(harness: UploadsHarness, directory: Path) -> None:
    """Bytes that a complete upload has lost are not in the store: repair changes nothing and says so each time."""
    upload_id = (await harness.create(5, b"hello")).upload.id
    os.truncate(directory / upload_id, 3)
    for _ in range(2):
        finding = (await found(harness, repair=True))[upload_id]
        assert (finding.problem, finding.recorded, finding.stored) == (Disagreement.SHORT, 5, 3)
        assert not finding.is_repaired
        assert "backup" in finding.advice


async def test_orphaned_bytes_are_removed(harness: UploadsHarness, directory: Path) -> None:
    """A file under an id of ours without a record is orphaned; other files and locked uploads are left alone."""
    await harness.create(5, b"hello")
    assert is_generated_id(_ORPHAN)
    for name in (_ORPHAN, "notes.txt"):
        (directory / name).write_bytes(b"x")
        os.utime(directory / name, (0, 0))
    lock = await harness.locker.acquire(_ORPHAN, 1)
    assert {} == await found(harness, repair=True)
    await lock.release()
    assert (await found(harness))[_ORPHAN].problem is Disagreement.ORPHANED
    assert (directory / _ORPHAN).exists()
    assert (await found(harness, repair=True))[_ORPHAN].is_repaired
    assert not (directory / _ORPHAN).exists()
    assert (directory / "notes.txt").exists()


async def test_running_upload_is_left_alone(harness: UploadsHarness, directory: Path) -> None:
    """An upload whose lock a request holds is not examined: it writes before it saves."""
    upload_id = (await harness.create(10, b"012345")).upload.id
    os.truncate(directory / upload_id, 2)
    lock = await harness.locker.acquire(upload_id, 1)
    assert {} == await found(harness, repair=True)
    await lock.release()
    assert {upload_id} == (await found(harness)).keys()
