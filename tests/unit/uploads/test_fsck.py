"""fsck: what it finds, what it repairs, and what it leaves alone."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.fake_s3 import MADE_AT, FakeS3, FakeS3Store
from tests.support.harness import UploadsHarness
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.model.ids import is_generated_id
from tusd_py.model.steps import VALIDATION
from tusd_py.model.upload import HistoryEntry, Upload
from tusd_py.pace import Pace
from tusd_py.storage.disk.store import DiskStore
from tusd_py.uploads.commit import update
from tusd_py.uploads.compare_checksums import ChecksumComparison, Verdict
from tusd_py.uploads.fsck import Disagreement, Finding, Progress, check

pytestmark = pytest.mark.anyio

_ORPHAN = "0123456789abcdef0123456789abcdef"


async def found(
    harness: UploadsHarness, *, repair: bool = False, comparison: ChecksumComparison | None = None
) -> dict[str, Finding]:
    findings = check(harness.ports, repair=repair, comparison=comparison)
    return {finding.upload_id: finding async for finding in findings}


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


async def validated(harness: UploadsHarness, body: bytes, algorithm: str = "sha256") -> Upload:
    """A complete upload whose digest validation has recorded."""
    upload = (await harness.create(len(body), body)).upload
    details = {"type": "text/plain", algorithm: hashlib.new(algorithm, body).hexdigest()}
    entry = HistoryEntry(upload.status, harness.clock(), name=VALIDATION.name, details=details)
    return await update(harness.ports, upload, replace(upload, history=(*upload.history, entry)))


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
async def test_changed_byte_of_a_validated_file(harness: UploadsHarness, directory: Path, algorithm: str) -> None:
    """It is a mismatch, which no repair touches; what has no digest is counted as unknown."""
    good, bad = [await validated(harness, bytes(600_000), algorithm) for _ in range(2)]
    await harness.create(5, b"hello")
    await harness.create(5, b"he")
    await harness.create(0)
    with (directory / bad.id).open("r+b") as file:
        file.seek(300_000)
        file.write(b"x")
    stored = (directory / bad.id).read_bytes()
    assert await found(harness) == {}, "sizes alone agree"
    for repair in (False, True):
        comparison = ChecksumComparison()
        findings = await found(harness, repair=repair, comparison=comparison)
        assert {bad.id: (Disagreement.MISMATCH, False)} == {
            name: (each.problem, each.is_repaired) for name, each in findings.items()
        }
        assert comparison.counts == {Verdict.RIGHT: 2, Verdict.WRONG: 1, Verdict.UNKNOWN: 2}
        assert comparison.bytes_read == 1_200_000
    assert (directory / bad.id).read_bytes() == stored
    assert (await harness.inspect(bad.id)).upload.offset == 600_000
    assert good.id not in findings


async def test_upload_deleted_while_it_is_read(harness: UploadsHarness, directory: Path) -> None:
    """It is no finding: its bytes went away rightly."""
    upload = await validated(harness, bytes(10))
    (directory / upload.id).write_bytes(b"x" * 10)

    class Deleting(ChecksumComparison):
        async def compare(self, ports: object, upload: Upload) -> Verdict:
            await harness.terminate(upload.id)
            return Verdict.WRONG

    assert await found(harness, comparison=Deleting()) == {}


async def test_bytes_are_read_at_the_given_pace(harness: UploadsHarness) -> None:
    """Ten thousand bytes at a hundred thousand a second: the second upload waits for the first one."""
    for _ in range(3):
        await validated(harness, bytes(10_000))
    loop = asyncio.get_running_loop()
    start = loop.time()
    assert await found(harness, comparison=ChecksumComparison(pace=Pace(100_000))) == {}
    assert loop.time() - start >= 0.19


async def test_progress_counts_uploads(harness: UploadsHarness) -> None:
    """Those with and without bytes."""
    for number in range(20):
        await harness.create(5, b"hello"[: number % 6])
    progress = Progress()
    assert [each async for each in check(harness.ports, repair=False, progress=progress)] == []
    assert progress.examined == 20


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3()


@pytest.fixture
def in_s3(s3: FakeS3) -> UploadsHarness:
    return UploadsHarness(store=FakeS3Store(s3))


async def test_checksums_that_s3_keeps(in_s3: UploadsHarness, s3: FakeS3) -> None:
    """Of objects and tails they are compared without reading; a wrong one is a mismatch that no repair touches."""
    whole, open_one = [(await in_s3.create(250, bytes(count))).upload for count in (250, 50)]
    [tail] = [key for key in s3.objects if open_one.id in key]
    [key] = [key for key in s3.objects if whole.id in key]
    comparison = ChecksumComparison()
    assert await found(in_s3, comparison=comparison) == {}
    assert comparison.counts[Verdict.RIGHT] == 2
    s3.crcs[key] += 1
    s3.crcs[tail] += 1
    before = dict(s3.objects)
    findings = await found(in_s3, repair=True, comparison=comparison)
    assert {each.problem for each in findings.values()} == {Disagreement.MISMATCH}
    assert findings.keys() == {whole.id, open_one.id}
    assert (s3.objects, comparison.bytes_read) == (before, 0)


async def test_bytes_that_changed_within_s3(in_s3: UploadsHarness, s3: FakeS3) -> None:
    """S3 answers with the checksum of the bytes that it has received: only reading finds what happened later."""
    whole, small = [(await in_s3.create(250, bytes(count))).upload for count in (250, 50)]
    for key in list(s3.objects):
        s3.objects[key] = b"x" * len(s3.objects[key])
    assert await found(in_s3, comparison=ChecksumComparison()) == {}
    comparison = ChecksumComparison(reads_all=True)
    findings = await found(in_s3, repair=True, comparison=comparison)
    assert {each.problem for each in findings.values()} == {Disagreement.MISMATCH}
    assert findings.keys() == {whole.id, small.id}
    assert comparison.counts[Verdict.WRONG] == 2


async def test_service_without_checksums(in_s3: UploadsHarness, s3: FakeS3) -> None:
    """Then only reading compares; parts of an unfinished upload cannot be read."""
    await in_s3.create(250, bytes(250))
    await in_s3.create(250, bytes(130))
    s3.crcs.clear()
    comparison = ChecksumComparison()
    assert await found(in_s3, comparison=comparison) == {}
    assert comparison.counts == {Verdict.RIGHT: 0, Verdict.WRONG: 0, Verdict.UNKNOWN: 2}
    comparison = ChecksumComparison(reads_all=True)
    assert await found(in_s3, comparison=comparison) == {}
    assert comparison.counts == {Verdict.RIGHT: 1, Verdict.WRONG: 0, Verdict.UNKNOWN: 1}


async def test_one_key_that_s3_refuses(in_s3: UploadsHarness, s3: FakeS3) -> None:
    """The upload is unreadable, with the reason; the others are examined, and orphans are looked for."""
    bad, good = [(await in_s3.create(250, bytes(250))).upload for _ in range(2)]
    orphan, refused_orphan = f"uploads/{_ORPHAN}.{'0' * 16}", f"uploads/{_ORPHAN[::-1]}.{'0' * 16}"
    s3.objects |= {orphan: b"x", refused_orphan: b"x"}
    [key] = [key for key in s3.objects if bad.id in key]
    denied = StoreUnavailable("S3 answered 403 AccessDenied: the credentials lack the permission s3:GetObject")
    s3.refused = {key: denied, refused_orphan: denied}
    in_s3.clock.now = MADE_AT + timedelta(days=1)
    findings = await found(in_s3, repair=True, comparison=ChecksumComparison())
    assert {name: (each.problem, each.is_repaired) for name, each in findings.items()} == {
        bad.id: (Disagreement.UNREADABLE, False),
        _ORPHAN: (Disagreement.ORPHANED, True),
        _ORPHAN[::-1]: (Disagreement.ORPHANED, False),
    }
    assert "s3:GetObject" in findings[bad.id].advice
    assert "s3:GetObject" in findings[_ORPHAN[::-1]].advice
    assert good.id not in findings
    assert refused_orphan in s3.objects


async def test_listings_in_pages_of_one(in_s3: UploadsHarness, s3: FakeS3) -> None:
    """Every orphan is found once and removed, on whatever page it is."""
    s3.page_size = 1
    whole = (await in_s3.create(250, bytes(250))).upload
    half = (await in_s3.create(250, bytes(130))).upload
    kept = dict(s3.objects), dict(s3.multiparts)
    ids = [f"{number:032x}" for number in range(5)]
    for upload_id in ids:
        s3.objects[f"uploads/{upload_id}.{'0' * 16}"] = b"x"
        s3.objects[f"tails/{upload_id}/{0:020d}-{'0' * 16}"] = b"x"
        for name in ("1", "2"):
            s3.multiparts[upload_id + name] = (f"uploads/{upload_id}.{'1' * 16}", {1: b"x"})
    in_s3.clock.now = MADE_AT + timedelta(days=1)
    for repair in (False, True):
        findings = [each async for each in check(in_s3.ports, repair=repair)]
        assert sorted(each.upload_id for each in findings) == ids
    assert all(each.is_repaired for each in findings)
    assert (s3.objects, s3.multiparts) == kept
    assert await found(in_s3, comparison=ChecksumComparison(reads_all=True)) == {}
    assert {whole.id, half.id} == {upload.id for upload in await in_s3.records.page("", 10)}
