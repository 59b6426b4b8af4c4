"""May this request touch this upload now?"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol import rules
from tusd_py.protocol.concat_errors import (
    FinalUploadModified,
    InvalidParts,
    PartInUse,
    PartUsedTooOften,
)
from tusd_py.protocol.errors import (
    ContentGone,
    InvalidLength,
    LengthAlreadyKnown,
    LengthExceeded,
    MaxSizeExceeded,
    OffsetMismatch,
    RejectedByRules,
    TusError,
    UnsupportedContentType,
    UploadGone,
    UploadNotFound,
    UploadNotValidated,
    UploadUnfinished,
)
from tusd_py.protocol.headers import NUMBER_MAX
from tusd_py.protocol.requests import Append, BodyInfo, Create
from tusd_py.protocol.rules import Limits

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER, BEFORE = NOW + timedelta(seconds=1), NOW - timedelta(seconds=1)
ANY, TEN = Limits(), Limits(length_max=10)
UPLOAD = Upload(id="a", length=10, offset=4, created_at=BEFORE, updated_at=BEFORE, expires_at=LATER)
DEFERRED = replace(UPLOAD, length=None)
COMPLETE = replace(UPLOAD, offset=10, completed_at=BEFORE, status=Status.READY)
PART = replace(COMPLETE, kind=Kind.PARTIAL)
FINAL = replace(UPLOAD, kind=Kind.FINAL, offset=0)
PATCH = Append(upload_id="a", offset=4, length=None, body=BodyInfo(length=None))
WRONG_TYPE = UnsupportedContentType()


def patch(length: int | None = None, body: int | None = None, offset: int = 4) -> Append:
    return replace(PATCH, offset=offset, length=length, body=BodyInfo(length=body))


class TestAvailable:
    def test_available(self) -> None:
        """Until its expiry."""
        assert rules.ensure_available(UPLOAD, NOW) is UPLOAD
        assert rules.ensure_available(replace(UPLOAD, expires_at=None), NOW).expires_at is None

    def test_not_found_404(self) -> None:
        """Never created, or terminated: tests of clients expect 404 after DELETE."""
        for upload in (None, replace(UPLOAD, status=Status.TERMINATED)):
            with pytest.raises(UploadNotFound):
                rules.ensure_available(upload, NOW)

    def test_gone_410(self) -> None:
        """Expired or failed, exactly from the expiry on, even before the sweeper runs."""
        failed, expired = replace(FINAL, status=Status.FAILED), replace(UPLOAD, status=Status.EXPIRED)
        for upload in (failed, expired, replace(UPLOAD, expires_at=NOW), replace(UPLOAD, expires_at=BEFORE)):
            with pytest.raises(UploadGone):
                rules.ensure_available(upload, NOW)

    @pytest.mark.parametrize("upload", [COMPLETE, PART, FINAL, replace(PART, completed_at=None)])
    def test_expiry_left_to_the_sweeper(self, upload: Upload) -> None:
        """Complete uploads, and those that other uploads may use, do not expire by the clock alone."""
        overdue = replace(upload, expires_at=BEFORE)
        assert rules.ensure_available(overdue, NOW) is overdue


class TestCreate:
    @pytest.mark.parametrize(
        "request_",
        [
            Create(length=10),
            Create(length=None),
            Create(length=10, body=BodyInfo(length=10)),
            Create(length=None, body=BodyInfo(length=10)),
            Create(length=5, body=BodyInfo(length=None)),
            Create(length=0, body=BodyInfo(length=0)),
        ],
    )
    def test_create_within_limit(self, request_: Create) -> None:
        """Up to the limit."""
        rules.create(request_, TEN)

    @pytest.mark.parametrize(
        ("request_", "refusal"),
        [
            (Create(length=11), MaxSizeExceeded),
            (Create(length=11, body=BodyInfo(length=12)), MaxSizeExceeded),
            (Create(length=5, body=BodyInfo(length=6)), LengthExceeded),
            (Create(length=None, body=BodyInfo(length=11)), MaxSizeExceeded),
        ],
    )
    def test_create_too_large_413(self, request_: Create, refusal: type[TusError]) -> None:
        """One byte more is refused before anything is created."""
        with pytest.raises(refusal):
            rules.create(request_, TEN)

    def test_create_without_limit(self) -> None:
        """0 means no limit."""
        rules.create(Create(length=2**63 - 1), ANY)
        rules.create(Create(length=None, body=BodyInfo(length=2**63 - 1)), ANY)


class TestAppend:
    def test_append_final_403(self) -> None:
        """It takes precedence over every other error."""
        with pytest.raises(FinalUploadModified):
            rules.append(replace(PATCH, offset=99, length=3, unsupported=WRONG_TYPE), FINAL, ANY)

    def test_append_type_415(self) -> None:
        """It is checked before the offset."""
        with pytest.raises(UnsupportedContentType):
            rules.append(replace(PATCH, offset=99, unsupported=WRONG_TYPE), UPLOAD, ANY)

    @pytest.mark.parametrize("request_", [patch(offset=3), patch(offset=5), patch(11, 99, offset=3)])
    def test_append_wrong_offset_409(self, request_: Append) -> None:
        """It is checked before the length."""
        with pytest.raises(OffsetMismatch) as refused:
            rules.append(request_, UPLOAD, ANY)
        assert (refused.value.expected, refused.value.received) == (4, request_.offset)

    def test_append_replay_on_complete_409(self) -> None:
        """A client that lost the last response learns from it that the upload is complete."""
        with pytest.raises(OffsetMismatch):
            rules.append(patch(offset=0, body=10), COMPLETE, ANY)

    def test_remaining(self) -> None:
        """The remaining bytes, exactly; possibly none."""
        assert rules.append(patch(body=6), UPLOAD, ANY).bytes == 6
        assert rules.append(patch(), UPLOAD, ANY).bytes == 6
        assert rules.append(patch(offset=10, body=0), COMPLETE, ANY).bytes == 0
        for request, upload in ((patch(body=7), UPLOAD), (patch(offset=10, body=1), COMPLETE)):
            with pytest.raises(LengthExceeded):
                rules.append(request, upload, ANY)

    def test_append_length_beyond_what_can_be_stored_413(self) -> None:
        """A length that follows from offset and Content-Length, as in the draft, may exceed what each may be."""
        with pytest.raises(MaxSizeExceeded, match=str(NUMBER_MAX)):
            rules.append(patch(body=NUMBER_MAX, length=4 + NUMBER_MAX), DEFERRED, ANY)

    def test_remaining_while_deferred(self) -> None:
        """The maximum size is the limit, if there is one."""
        unbounded = rules.append(patch(body=2**63 - 1), DEFERRED, ANY)
        assert unbounded.bytes is None
        assert isinstance(unbounded.refusal, MaxSizeExceeded)
        assert rules.append(patch(), DEFERRED, TEN).bytes == 6
        with pytest.raises(MaxSizeExceeded):
            rules.append(patch(body=7), DEFERRED, TEN)

    def test_append_length_repeated(self) -> None:
        """The same length is accepted, a different one is refused."""
        assert rules.append(patch(10), UPLOAD, ANY).bytes == 6
        for length in (9, 11):
            with pytest.raises(LengthAlreadyKnown, match="is 10 bytes"):
                rules.append(patch(length), UPLOAD, ANY)

    def test_append_length_declared(self) -> None:
        """At least the stored bytes, at most the maximum, and enough for the body."""
        assert rules.append(patch(10), DEFERRED, TEN).bytes == 6
        assert rules.append(patch(4, 0), DEFERRED, TEN).bytes == 0
        assert rules.append(patch(11), DEFERRED, ANY).bytes == 7
        for length, body, limits, refusal in (
            (11, None, TEN, MaxSizeExceeded),
            (3, None, ANY, LengthAlreadyKnown),
            (5, 2, ANY, LengthExceeded),
        ):
            with pytest.raises(refusal):
                rules.append(patch(length, body), DEFERRED, limits)


class TestConcatenate:
    def concatenate(self, *parts: Upload | None, length: int | None = None, limits: Limits = ANY) -> int | None:
        return rules.concatenate(Create(length=length, kind=Kind.FINAL), parts, NOW, limits)

    def test_sum(self) -> None:
        """The sum of the lengths of all parts, which may repeat; unknown while one length is."""
        assert self.concatenate(PART, PART) == 20
        unfinished = replace(UPLOAD, kind=Kind.PARTIAL)
        assert self.concatenate(PART, unfinished) == 20
        assert self.concatenate(replace(unfinished, length=None), PART) is None

    @pytest.mark.parametrize(
        "part",
        [
            None,
            COMPLETE,
            FINAL,
            replace(PART, status=Status.TERMINATED),
            replace(PART, status=Status.FAILED),
            replace(PART, status=Status.REJECTED),
            replace(UPLOAD, kind=Kind.PARTIAL, expires_at=NOW),
        ],
    )
    def test_invalid_parts_400(self, part: Upload | None) -> None:
        """Every fault of a part raises the same error."""
        with pytest.raises(InvalidParts):
            self.concatenate(PART, part)

    def test_concatenate_other_owner_refused(self) -> None:
        """Every part must have the owner of the final upload, and be made with the same access code."""
        final = replace(PART, owner="ann", grant="code:1")
        rules.ensure_same_owner([final, final], final)
        for part in (replace(final, owner="bob"), replace(final, grant="code:2"), replace(final, grant="")):
            with pytest.raises(InvalidParts):
                rules.ensure_same_owner([final, part], final)

    def test_upload_length(self) -> None:
        """Accepted if it is the sum; refused if it differs or the sum is unknown."""
        assert self.concatenate(PART, PART, length=20) == 20
        for parts in ((PART, PART), (PART, replace(PART, length=None))):
            with pytest.raises(InvalidLength, match="the sum of its parts"):
                self.concatenate(*parts, length=19)

    def test_too_large_413(self) -> None:
        """The limit applies to the sum."""
        assert self.concatenate(PART, limits=TEN) == 10
        with pytest.raises(MaxSizeExceeded):
            self.concatenate(PART, PART, limits=TEN)

    def test_total_beyond_what_can_be_stored_413(self) -> None:
        """Two lengths that are allowed each have a sum that no database column holds."""
        huge = replace(UPLOAD, kind=Kind.PARTIAL, length=NUMBER_MAX)
        assert self.concatenate(huge) == NUMBER_MAX
        with pytest.raises(MaxSizeExceeded, match=str(NUMBER_MAX)):
            self.concatenate(huge, PART)

    def test_uses_of_part_413(self) -> None:
        """Uses by this final upload and by others count together, for each part; 0 is no limit."""
        limits = Limits(part_uses_max=3)
        rules.ensure_uses_allowed(["a", "b", "a"], {"a": 1, "b": 2}, limits)
        rules.ensure_uses_allowed(["a"] * 250, {}, Limits(part_uses_max=0))
        for parts, uses in ((["a"] * 4, {}), (["b", "a", "a"], {"a": 2}), (["a"], {"a": 9})):
            with pytest.raises(PartUsedTooOften, match="at most 3 times"):
                rules.ensure_uses_allowed(parts, uses, limits)


class TestTerminate:
    def test_terminate(self) -> None:
        """Any existing upload, also a failed one."""
        failed = replace(FINAL, status=Status.FAILED)
        for upload in (UPLOAD, COMPLETE, PART, FINAL, failed):
            assert rules.terminate(upload, NOW, []) is upload

    def test_terminate_refused(self) -> None:
        """An unknown upload (404), and a part that an unfinished final upload needs (409)."""
        with pytest.raises(UploadNotFound):
            rules.terminate(None, NOW, [])
        with pytest.raises(PartInUse):
            rules.terminate(PART, NOW, [FINAL])


def test_complete_uploads_can_be_downloaded_unfinished_ones_by_setting() -> None:
    """Complete uploads always; unfinished ones by setting, but never an unfinished final one."""
    partly = Limits(partial_downloads=True)
    rules.download(COMPLETE, ANY)
    rules.download(UPLOAD, partly)
    for upload, limits in ((UPLOAD, ANY), (FINAL, ANY), (FINAL, partly)):
        with pytest.raises(UploadUnfinished):
            rules.download(upload, limits)


def test_download_before_validation_409() -> None:
    """With validation only what it has accepted is sent, whatever else a worker has still to do."""
    validated = Limits(requires_validation=True)
    rules.download(COMPLETE, validated)
    processing = replace(COMPLETE, status=Status.PROCESSING)
    rules.download(replace(processing, pending_steps=("publishing",)), validated)
    # Without pending steps the upload was not handed to the workers yet.
    for pending in ((), ("validation",), ("validation", "publishing")):
        with pytest.raises(UploadNotValidated):
            rules.download(replace(processing, pending_steps=pending), validated)
        rules.download(replace(processing, pending_steps=pending), ANY)


def test_download_of_what_is_never_validated_404() -> None:
    """Parts, and the stored bytes of unfinished uploads: validation sees them only as a whole."""
    validated = Limits(requires_validation=True, partial_downloads=True)
    for upload in (PART, UPLOAD):
        rules.download(upload, replace(validated, requires_validation=False))
        with pytest.raises(UploadUnfinished):
            rules.download(upload, validated)


def test_download_of_what_is_gone() -> None:
    """A rejected upload is 403, one whose bytes a hook has moved is 410."""
    for status, refusal in ((Status.REJECTED, RejectedByRules), (Status.MOVED, ContentGone)):
        with pytest.raises(refusal):
            rules.download(replace(COMPLETE, status=status), ANY)
