"""The step ``validation``: results, rejected uploads, and temporary failures, which are no result."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.faults.failing import FailingStore, Faults
from tests.support import samples
from tests.support.harness import UploadsHarness
from tests.support.processing import a_harness, job, states, with_ports
from tusd_py.contracts.records import RecordConflict
from tusd_py.contracts.store import OnProgress, StoreUnavailable
from tusd_py.contracts.validator import ValidationResult, ValidatorUnavailable
from tusd_py.model.jobs import JobState
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.model.validation_rule import ValidationRule
from tusd_py.protocol.errors import RejectedByRules, UploadNotFound, UploadNotValidated, UploadUnfinished
from tusd_py.protocol.metadata import format_metadata
from tusd_py.protocol.outcomes import Content
from tusd_py.protocol.requests import Download
from tusd_py.protocol.rules import Limits
from tusd_py.uploads.download import download
from tusd_py.uploads.expire import sweep
from tusd_py.uploads.processing.validate import validate
from tusd_py.validation import libmagic
from tusd_py.validation.validator import RuleValidator

IMAGES = ValidationRule(
    name="images", types=("image/*",), allowed_types=("image/png",), type_agrees=True, size_max=1000
)
VALIDATOR = RuleValidator(rules=(IMAGES, ValidationRule(files=("*.csv",), csv=True)), digest_keys=("sha256",))


pytestmark = pytest.mark.anyio


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[UploadsHarness]:
    limits = Limits(requires_validation=True)
    async with a_harness(tmp_path, steps=("validation",), validator=VALIDATOR, limits=limits) as harness:
        yield harness


async def sent(harness: UploadsHarness, content: bytes, **metadata: bytes) -> Upload:
    """A complete upload of ``content`` that waits for its validation."""
    made = await harness.create(len(content), content, metadata=format_metadata(metadata))
    assert (Status.PROCESSING, ("validation",)) == (made.upload.status, made.upload.pending_steps)
    return made.upload


async def validated(harness: UploadsHarness, upload: Upload) -> Upload:
    await validate(harness.ports, await job(harness, upload.id, "validation"))
    found = await harness.record(upload.id)
    assert found is not None
    return found


async def test_validate_accepted_ready_and_downloadable(harness: UploadsHarness) -> None:
    """Before its validation a download is refused; afterwards type, digest and rule are in the history."""
    upload = await sent(
        harness, samples.PNG, filetype=b"image/png", sha256=hashlib.sha256(samples.PNG).digest().hex().encode()
    )
    with pytest.raises(UploadNotValidated):
        await download(harness.ports, Download(upload_id=upload.id))
    after = await validated(harness, upload)
    assert (Status.READY, ()) == (after.status, after.pending_steps)
    (step,) = [step for step in after.history if step.name == "validation"]
    expected = {"type": "image/png", "sha256": hashlib.sha256(samples.PNG).hexdigest(), "rule": "images"}
    assert (expected, "") == (step.details, step.reason)
    assert len(samples.PNG) == (await download(harness.ports, Download(upload_id=upload.id))).stop


@pytest.mark.parametrize(
    ("content", "metadata", "reason"),
    [
        (samples.HTML, {"filetype": b"image/jpeg"}, 'its type is text/html, but "image/jpeg" was declared'),
        (samples.HTML, {"filetype": b"image/jpeg"}, "which is not one of image/png"),
        (samples.PNG + bytes(1000), {"filetype": b"image/png"}, "more than 1000"),
        (samples.PNG, {"filetype": b"image/png", "sha256": bytes(32).hex().encode()}, "its sha256 is not the one"),
        (b"a,b\n1\n", {"filename": b"x.csv"}, "row 2: it has 1 columns"),
        (b"", {"filename": b"x.csv"}, "no rows"),
    ],
)
async def test_validate_rejected_quarantined(
    harness: UploadsHarness, content: bytes, metadata: dict[str, bytes], reason: str
) -> None:
    """A rejected upload can neither be downloaded nor inspected, and it can be terminated."""
    after = await validated(harness, await sent(harness, content, **metadata))
    assert Status.REJECTED is after.status
    assert reason in after.history[-1].reason
    assert hashlib.sha256(content).hexdigest() == after.history[-1].details["sha256"]
    for attempt in (download(harness.ports, Download(upload_id=after.id)), harness.inspect(after.id)):
        with pytest.raises(RejectedByRules):
            await attempt
    assert content == await harness.content(after.id)
    await harness.terminate(after.id)
    assert 0 == await harness.store.size(after)


async def test_validate_unmatched_by_setting(harness: UploadsHarness) -> None:
    """An upload that matches no rule is accepted or rejected by a setting; its digests are checked either way."""
    assert Status.READY is (await validated(harness, await sent(harness, samples.TEXT))).status
    wrong = await sent(harness, samples.TEXT, sha256=b"00" * 32)
    assert Status.REJECTED is (await validated(harness, wrong)).status
    with_ports(harness, validator=replace(VALIDATOR, rejects_unmatched=True))
    after = await validated(harness, await sent(harness, samples.TEXT))
    assert (Status.REJECTED, "no rule allows it") == (after.status, after.history[-1].reason)


async def test_validate_rejected_deleted_by_setting(harness: UploadsHarness) -> None:
    """The record is saved first, then the bytes are deleted, also after a crash in between."""
    with_ports(harness, delete_rejected=True)
    faults = Faults(nth=2)  # the first is the reading
    upload = await sent(harness, samples.HTML, filetype=b"image/png")
    sound = harness.ports
    with_ports(harness, store=FailingStore(harness.store, faults))
    with pytest.raises(StoreUnavailable):
        await validate(harness.ports, await job(harness, upload.id, "validation"))
    record = await harness.record(upload.id)
    assert record is not None and Status.REJECTED is record.status
    harness.ports = sound
    assert 0 < await harness.store.size(upload)
    await validated(harness, upload)
    assert 0 == await harness.store.size(upload)
    harness.clock.move(harness.policy.tombstone_seconds + 1)
    assert 1 == (await sweep(harness.ports)).expired


async def test_validate_no_libmagic_retries(harness: UploadsHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without libmagic an upload waits if its rule checks the type, and only then."""

    def missing(head: bytes) -> str:
        raise ValidatorUnavailable("libmagic is missing")

    monkeypatch.setattr(libmagic, "detect_type", missing)
    waits = await sent(harness, samples.PNG, filetype=b"image/png")
    with pytest.raises(ValidatorUnavailable):
        await validate(harness.ports, await job(harness, waits.id, "validation"))
    assert waits == await harness.record(waits.id)
    passes = await validated(harness, await sent(harness, samples.CSV, filename=b"a.csv"))
    assert (Status.READY, None) == (passes.status, passes.history[-2].details.get("type"))


async def test_validate_store_or_validator_unavailable(harness: UploadsHarness) -> None:
    """The record stays unchanged, and a later attempt produces the result."""
    upload = await sent(harness, samples.PNG, filetype=b"image/png")
    sound = harness.ports
    with_ports(harness, store=FailingStore(harness.store, Faults(nth=1)))
    with pytest.raises(StoreUnavailable):
        await validate(harness.ports, await job(harness, upload.id, "validation"))
    harness.ports = replace(sound, validator=None)
    with pytest.raises(ValidatorUnavailable, match="validation is disabled"):
        await validate(harness.ports, await job(harness, upload.id, "validation"))
    assert upload == await harness.record(upload.id)
    harness.ports = sound
    assert Status.READY is (await validated(harness, upload)).status


async def test_validate_bytes_missing_failed(harness: UploadsHarness) -> None:
    """An upload without its bytes can never be validated: it fails."""
    upload = await sent(harness, samples.PNG, filetype=b"image/png")
    await harness.store.delete(upload)
    after = await validated(harness, upload)
    assert (Status.FAILED, "the bytes of this upload are gone") == (after.status, after.history[-1].reason)


@dataclass(frozen=True)
class Slow:
    """A validator that waits until the test has done something else."""

    harness: UploadsHarness
    seconds: float = 0.0
    terminates: bool = False

    async def validate(self, upload: Upload, content: Content, on_progress: OnProgress) -> ValidationResult:
        self.harness.clock.move(self.seconds)
        await on_progress(5)
        if self.terminates:
            await self.harness.terminate(upload.id)
        return ValidationResult((), {"sha256": "0"})


async def test_validate_progress_in_history(harness: UploadsHarness) -> None:
    """The history says how many bytes are done, until the result replaces that."""
    seen: list[Upload] = []

    class Watched(Slow):
        async def validate(self, upload: Upload, content: Content, on_progress: OnProgress) -> ValidationResult:
            result = await super().validate(upload, content, on_progress)
            record = await harness.record(upload.id)
            assert record is not None
            seen.append(record)
            return result

    with_ports(harness, validator=Watched(harness, seconds=2))
    after = await validated(harness, await sent(harness, samples.PNG))
    assert {"done_bytes": "5", "length": str(len(samples.PNG))} == seen[0].history[-1].details
    assert ["validation"] == [step.name for step in after.history if step.name]
    assert Status.READY is after.status


async def test_validate_terminated_meanwhile(harness: UploadsHarness) -> None:
    """The late result is dropped, and the repetition of the job finds nothing to do."""
    with_ports(harness, validator=Slow(harness, terminates=True))
    upload = await sent(harness, samples.PNG)
    with pytest.raises(RecordConflict):
        await validate(harness.ports, await job(harness, upload.id, "validation"))
    assert Status.TERMINATED is (await validated(harness, upload)).status
    with pytest.raises(UploadNotFound):
        await harness.inspect(upload.id)


async def test_validate_repeated_job(harness: UploadsHarness) -> None:
    """A job that runs again after a crash changes nothing."""
    upload = await sent(harness, samples.PNG, filetype=b"image/png")
    once = await validated(harness, upload)
    assert {"validation": JobState.DONE} == await states(harness, upload.id), "it ended with the result"
    assert once == await validated(harness, upload)


async def test_download_unvalidated_refused(harness: UploadsHarness) -> None:
    """Partial and unfinished uploads cannot be downloaded: that would bypass the rules."""
    part = await harness.create(4, b"part", kind=Kind.PARTIAL)
    begun = await harness.create(9, b"some")
    with_ports(harness, limits=replace(harness.ports.policy.limits, partial_downloads=True))
    for made in (part, begun):
        with pytest.raises(UploadUnfinished):
            await download(harness.ports, Download(upload_id=made.upload.id))
