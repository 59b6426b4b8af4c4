"""``Sniffer``: an upload of a forbidden type is refused by its first bytes, before the rest is received."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.support import samples
from tests.support.harness import FakeBody, RecordingListener, UploadsHarness
from tests.support.processing import with_ports
from tusd_py.contracts.validator import ValidatorUnavailable
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.model.validation_rule import ValidationRule
from tusd_py.protocol.errors import RejectedByRules, TypeNotAllowed, UploadGone
from tusd_py.protocol.metadata import format_metadata
from tusd_py.protocol.requests import Download
from tusd_py.protocol.rules import Limits
from tusd_py.uploads.download import download
from tusd_py.uploads.expire import sweep
from tusd_py.validation.validator import RuleValidator

IMAGES = RuleValidator(rules=(ValidationRule(types=("image/*",), allowed_types=("image/*",), type_agrees=True),))
METADATA = format_metadata({"filetype": b"image/png"})
BAD = samples.HTML + b"<p>Words of a page.</p>\n" * 1000
GOOD = samples.PNG + bytes(10_000)


def a_harness() -> UploadsHarness:
    harness = UploadsHarness()
    with_ports(harness, sniffer=IMAGES)
    return harness


@pytest.mark.parametrize("size", [1, 100, 4095, 4096, 5000])
@pytest.mark.anyio
async def test_forbidden_type_is_refused_after_4_kib(size: int) -> None:
    """However the body is cut, no piece after the first 4 KiB is read; the bytes are deleted, the record stays."""
    harness = a_harness()
    made = await harness.create(len(BAD), metadata=METADATA)
    pieces = [BAD[start : start + size] for start in range(0, len(BAD), size)]
    feed = FakeBody(*pieces)
    with pytest.raises(TypeNotAllowed, match="its type is text/html"):
        await harness.append(made.upload.id, 0, body=feed)
    assert len(pieces) - len(feed._pieces) == -(-4096 // size)
    record = await harness.record(made.upload.id)
    assert record is not None and (record.status, record.offset) == (Status.REJECTED, 0)
    assert 0 == await harness.store.size(record)


@pytest.mark.anyio
async def test_rejected_upload_tells_the_reason_until_it_expires() -> None:
    """HEAD is 200 at offset 0; every PATCH has the same refusal, whatever it brings; GET and the end are as usual."""
    harness = a_harness()
    harness.limits = Limits(partial_downloads=True)
    harness.restart()
    with_ports(harness, sniffer=IMAGES)
    made = await harness.create(len(BAD), BAD[:3000], metadata=METADATA)
    with pytest.raises(TypeNotAllowed):
        await harness.append(made.upload.id, 3000, BAD[3000:])
    for _ in range(2):
        assert (await harness.inspect(made.upload.id, length_completes=True)).upload.offset == 0
        for content in (BAD, GOOD, b""):
            with pytest.raises(TypeNotAllowed, match="its type is text/html") as refused:
                await harness.append(made.upload.id, 0, content)
            assert refused.value.upload is not None and refused.value.upload.offset == 0
        with pytest.raises(TypeNotAllowed):
            await harness.append(made.upload.id, 3000, GOOD)
        with pytest.raises(RejectedByRules):
            await download(harness.ports, Download(upload_id=made.upload.id))
        harness.restart()
        with_ports(harness, sniffer=IMAGES)
    harness.clock.move(8 * 24 * 3600)
    with pytest.raises(UploadGone):
        await harness.append(made.upload.id, 0, BAD)
    assert (await sweep(harness.ports)).expired == 1
    other = (await harness.create(len(BAD), metadata=METADATA)).upload.id
    with pytest.raises(TypeNotAllowed):
        await harness.append(other, 0, BAD)
    assert (await harness.terminate(other)).upload.status is Status.TERMINATED


@pytest.mark.anyio
async def test_allowed_type_is_stored() -> None:
    """Nothing is lost, whatever the pieces."""
    harness = a_harness()
    made = await harness.create(len(GOOD), metadata=METADATA)
    await harness.append(made.upload.id, 0, *(GOOD[start : start + 1000] for start in range(0, len(GOOD), 1000)))
    assert GOOD == await harness.content(made.upload.id)


@pytest.mark.anyio
async def test_first_bytes_of_several_requests() -> None:
    """Bytes of earlier requests are read back; a request that stays below 4 KiB is not checked yet."""
    harness = a_harness()
    for content, is_good in ((GOOD, True), (BAD, False)):
        made = await harness.create(len(content), content[:60], metadata=METADATA)
        await harness.append(made.upload.id, 60, content[60:3000])
        if is_good:
            assert len(content) == (await harness.append(made.upload.id, 3000, content[3000:])).upload.offset
        else:
            with pytest.raises(TypeNotAllowed):
                await harness.append(made.upload.id, 3000, content[3000:])


@pytest.mark.parametrize("completes", [None, True])
@pytest.mark.anyio
async def test_small_upload_is_checked_at_its_end(completes: bool | None) -> None:
    """An upload below 4 KiB is checked at its last byte, or in the draft at the end of its last body."""
    harness = a_harness()
    length = None if completes else len(samples.HTML)
    made = await harness.create(length, metadata=METADATA)
    with pytest.raises(TypeNotAllowed):
        await harness.append(made.upload.id, 0, samples.HTML, is_last=completes)
    fine = await harness.create(len(samples.PNG), samples.PNG, metadata=METADATA)
    assert fine.upload.is_complete


@pytest.mark.parametrize("listens", [True, False])
@pytest.mark.anyio
async def test_creation_with_a_forbidden_body_leaves_nothing(listens: bool) -> None:
    """Only a client that was told the URL before its body can ask for the reason."""
    harness = a_harness()
    listener = RecordingListener() if listens else None
    with pytest.raises(TypeNotAllowed):
        await harness.create(len(BAD), body=FakeBody(BAD), metadata=METADATA, listener=listener)
    record = await harness.record("u1")
    assert (record is not None) is listens
    assert record is None or Status.REJECTED is record.status
    assert 0 == await harness.store.size(
        Upload(id="u1", length=1, created_at=harness.clock(), updated_at=harness.clock())
    )


@pytest.mark.anyio
async def test_uploads_without_a_type_rule_are_not_checked() -> None:
    """Nor are partial uploads, which are only pieces of a file."""
    harness = a_harness()
    assert (await harness.create(len(BAD), BAD)).upload.is_complete
    assert (await harness.create(len(BAD), BAD, kind=Kind.PARTIAL, metadata=METADATA)).upload.is_complete


@dataclass(frozen=True)
class Blind:
    def applies_to(self, upload: Upload) -> bool:
        return True

    async def rejection(self, upload: Upload, head: bytes) -> str:
        raise ValidatorUnavailable("libmagic is missing")


@pytest.mark.anyio
async def test_unavailable_sniffer_accepts(caplog: pytest.LogCaptureFixture) -> None:
    """The log says why; validation checks the complete upload later."""
    harness = a_harness()
    with_ports(harness, sniffer=Blind())
    assert (await harness.create(len(BAD), BAD, metadata=METADATA)).upload.is_complete
    assert "libmagic is missing" in caplog.text
