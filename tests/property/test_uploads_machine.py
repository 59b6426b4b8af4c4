"""Random histories of the use cases: whatever happens in whatever order, the invariants of an upload hold.

The model is a dictionary: for each upload the bytes that its client meant to send, and how many are acknowledged.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from tests.support.harness import FakeBody, RecordingListener, UploadsHarness, cut
from tusd_py.contracts.hooks import HookEvent
from tusd_py.contracts.store import Store
from tusd_py.locking.memory import MemoryLocker
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Kind, Status
from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.concat_errors import (
    FinalUploadModified,
    InvalidParts,
    PartInUse,
    PartUsedTooOften,
)
from tusd_py.protocol.errors import (
    BodyIncomplete,
    ChecksumMismatch,
    InconsistentLength,
    LengthExceeded,
    OffsetMismatch,
    UploadGone,
    UploadNotFound,
)
from tusd_py.protocol.rules import Limits
from tusd_py.storage.disk.store import DiskStore
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.expire import recover, sweep
from tusd_py.uploads.policy import UploadPolicy

T = TypeVar("T")

_UNFINISHED_SECONDS = 1000.0
_CONTENTS = st.binary(max_size=40)
_PACE = UploadPolicy(
    unfinished_seconds=_UNFINISHED_SECONDS, partial_seconds=0, tombstone_seconds=10**6, concatenate_at_once_bytes_max=30
)


@dataclass
class Known:
    """What the client of one upload knows."""

    content: bytes
    kind: Kind = Kind.REGULAR
    acknowledged: int = 0
    parts: tuple[str, ...] = ()
    gone: bool = False
    has_length: bool = True  # the server knows its length
    ended: bool = False  # a request brought its end

    @property
    def is_at_length(self) -> bool:
        return self.has_length and self.acknowledged == len(self.content)


class UploadsMachine(RuleBasedStateMachine):
    """Clients that create, append, are cut, come back, concatenate, give up; a server that crashes; passing time."""

    uploads = Bundle("uploads")
    partials = Bundle("partials")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.known: dict[str, Known] = {}
        self.finished: list[str] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        async def and_drain() -> T:
            try:
                return await work
            finally:
                await self.harness.drain()

        return self.runner.run(and_drain())

    def make_store(self) -> Store:
        return MemoryStore(bytes_max=2**24)

    @initialize()
    def open(self) -> None:
        def finished(event: HookEvent) -> None:
            self.finished.append(event.upload.id)

        async def build() -> UploadsHarness:
            return UploadsHarness(store=self.make_store(), policy=_PACE, functions={Hook.POST_FINISH: finished})

        self.harness = self.runner.run(build())

    def teardown(self) -> None:
        if hasattr(self, "harness"):
            self.runner.run(self.harness.store.close())
        self.runner.close()

    # What clients do

    @rule(target=uploads, content=_CONTENTS, first=st.integers(0, 40))
    def create(self, content: bytes, first: int) -> str:
        made = self.run(self.harness.create(len(content), content[:first] if first else b"")).upload
        self.known[made.id] = known = Known(content, acknowledged=made.offset)
        known.ended = known.is_at_length
        assert made.offset == min(first, len(content))
        return made.id

    @rule(
        target=uploads,
        content=_CONTENTS,
        first=st.integers(1, 40),
        has_length=st.booleans(),
        is_heard=st.booleans(),
        end=st.sampled_from(["open", "last", "cut"]),
    )
    def create_draft(self, content: bytes, first: int, has_length: bool, is_heard: bool, end: str) -> Any:
        """A creation of the draft that says whether it is the whole upload; its client may learn the URL early."""
        first = len(content) if end == "last" else first
        listener = RecordingListener(can_announce=is_heard)
        body = cut(content[:first]) if end == "cut" else FakeBody(content[:first])
        length = len(content) if has_length else None
        creating = self.harness.create(length, body=body, is_last=end != "open", listener=listener)
        try:
            made = self.run(creating).upload
        except BodyIncomplete:
            assert end == "cut"
        else:
            assert made.is_complete == (end == "last")
        (upload_id,) = listener.created_ids
        has_length = has_length or end == "last"
        acknowledged = min(first, len(content))
        self.known[upload_id] = Known(content, acknowledged=acknowledged, has_length=has_length, ended=end == "last")
        return upload_id

    @rule(target=partials, content=_CONTENTS)
    def create_partial(self, content: bytes) -> str:
        made = self.run(self.harness.create(len(content), kind=Kind.PARTIAL)).upload
        self.known[made.id] = Known(content, Kind.PARTIAL, ended=not content)
        return made.id

    @rule(
        upload_id=st.one_of(uploads, partials), size=st.integers(0, 40), end=st.sampled_from(["whole", "cut", "wrong"])
    )
    def append(self, upload_id: str, size: int, end: str) -> None:
        """The next bytes at the right offset, to a clean end, to a cut, or with a wrong checksum."""
        known = self.known[upload_id]
        piece = known.content[known.acknowledged : known.acknowledged + size]
        half = len(piece) // 2
        body = cut(piece[:half], piece[half:]) if end == "cut" else FakeBody(piece[:half], piece[half:])
        checksum = Checksum("md5", bytes(16)) if end == "wrong" else None
        try:
            answer = self.run(self.harness.append(upload_id, known.acknowledged, body=body, checksum=checksum)).upload
        except BodyIncomplete as raised:
            assert end == "cut"
            assert raised.upload is not None
            answer = raised.upload
        except ChecksumMismatch as raised:
            assert end == "wrong"
            assert raised.upload is not None
            assert raised.upload.offset == known.acknowledged, "bytes with a wrong checksum were kept"
            return
        except FinalUploadModified:
            assert known.kind is Kind.FINAL
            return
        except (UploadGone, UploadNotFound):
            assert self.is_gone(upload_id)
            return
        assert not self.is_gone(upload_id)
        assert answer.offset == known.acknowledged + len(piece), "received bytes were not kept"
        known.acknowledged = answer.offset
        known.ended = known.ended or known.is_at_length

    @rule(upload_id=st.one_of(uploads, partials), size=st.integers(0, 40), end=st.sampled_from(["open", "last", "cut"]))
    def append_draft(self, upload_id: str, size: int, end: str) -> None:
        """The next bytes of a draft client that says if they are the last: only a clean end of the last completes."""
        known = self.known[upload_id]
        piece = known.content[known.acknowledged : known.acknowledged + size]
        body = cut(piece) if end == "cut" else FakeBody(piece)
        was_ended, stands_at = known.ended, known.acknowledged
        try:
            self.run(self.harness.append(upload_id, stands_at, body=body, is_last=end != "open"))
        except BodyIncomplete:
            assert end == "cut"
        except InconsistentLength:
            assert end == "last"
            assert stands_at + len(piece) < len(known.content)
        except FinalUploadModified:
            assert known.kind is Kind.FINAL
            return
        except (UploadGone, UploadNotFound):
            assert self.is_gone(upload_id)
            return
        else:
            assert was_ended or end != "cut"
            known.ended = was_ended or end == "last"
            if known.ended and not known.has_length:
                known.content, known.has_length = known.content[: stands_at + len(piece)], True
        known.acknowledged += len(piece)

    @rule(upload_id=st.one_of(uploads, partials))
    def inspect_length_completes(self, upload_id: str) -> None:
        """HEAD of a tus 1.0 client completes an upload at its length, and its offset is the stored one."""
        known = self.known[upload_id]
        try:
            raised = self.run(self.harness.inspect(upload_id, length_completes=True)).upload
        except (UploadGone, UploadNotFound):
            assert self.is_gone(upload_id)
            return
        if known.kind is not Kind.FINAL:
            assert raised.offset == known.acknowledged
            known.ended = known.ended or known.is_at_length

    @rule(upload_id=uploads, offset=st.integers(0, 60))
    def append_wrong_offset(self, upload_id: str, offset: int) -> None:
        """A wrong offset is refused and changes nothing."""
        known = self.known[upload_id]
        if offset == known.acknowledged or self.is_gone(upload_id):
            return
        refusal = FinalUploadModified if known.kind is Kind.FINAL else OffsetMismatch
        with pytest.raises(refusal):
            self.run(self.harness.append(upload_id, offset, b"x"))

    @rule(upload_id=uploads, is_last=st.sampled_from([None, None, True, False]))
    def append_overlong(self, upload_id: str, is_last: bool | None) -> None:
        """A body longer than its upload never completes it and never leaves a byte beyond its end.

        In the draft it invalidates the upload.
        """
        known = self.known[upload_id]
        if self.is_gone(upload_id) or known.kind is Kind.FINAL or not known.has_length:
            return
        rest = known.content[known.acknowledged :]
        with pytest.raises(LengthExceeded):
            self.run(self.harness.append(upload_id, known.acknowledged, body=FakeBody(rest + b"x"), is_last=is_last))
        known.gone = is_last is not None and not known.ended

    def uses(self, part: str) -> int:
        """How often the final uploads use ``part``."""
        return sum(known.parts.count(part) for known in self.known.values())

    @rule(target=uploads, parts=st.lists(partials, min_size=1, max_size=4))
    def join(self, parts: list[str]) -> Any:
        try:
            made = self.run(self.harness.create(None, kind=Kind.FINAL, parts=parts)).upload
        except InvalidParts:
            assert any(self.is_gone(part) for part in parts)
            return multiple()
        except PartUsedTooOften:
            assert max(self.uses(part) + parts.count(part) for part in parts) > Limits().part_uses_max
            return multiple()
        content = b"".join(self.known[part].content for part in parts)
        self.known[made.id] = Known(content, Kind.FINAL, parts=tuple(parts))
        return made.id

    @rule(upload_id=st.one_of(uploads, consumes(partials)))
    def terminate(self, upload_id: str) -> None:
        try:
            self.run(self.harness.terminate(upload_id))
        except PartInUse:
            assert any(upload_id in known.parts and not known.gone for known in self.known.values())
            # It was consumed, so no rule will touch it again: let it go on being what it is.
        except (UploadGone, UploadNotFound):
            assert self.is_gone(upload_id)
        else:
            self.known[upload_id].gone = True

    # What befalls the server

    @rule(seconds=st.sampled_from([1.0, _UNFINISHED_SECONDS / 2, _UNFINISHED_SECONDS + 1]))
    def time_passes(self, seconds: float) -> None:
        self.harness.clock.move(seconds)
        self.run(sweep(self.harness.ports))

    @rule()
    def crash(self) -> None:
        """Only records and bytes survive; bytes beyond a recorded offset are overwritten later."""
        self.harness.locker = MemoryLocker()
        self.harness.restart()
        self.run(recover(self.harness.ports))

    # What always holds

    def is_gone(self, upload_id: str) -> bool:
        upload = self.runner.run(self.harness.record(upload_id))
        if upload is None or upload.has_ended or upload.status is Status.FAILED:
            self.known[upload_id].gone = True
        return self.known[upload_id].gone

    @invariant()
    def records_tell_the_truth(self) -> None:
        for upload_id, known in self.known.items():
            upload = self.runner.run(self.harness.record(upload_id))
            if upload is None or upload.has_ended or upload.status is Status.FAILED:
                known.gone = True
                continue
            assert not known.gone, "an ended upload came back"
            if known.kind is Kind.FINAL:
                known.acknowledged = upload.offset
            assert upload.offset == known.acknowledged, "an offset moved by itself"
            assert known.content[: upload.offset] == self.runner.run(self.harness.content(upload_id))
            assert upload.is_complete == self.is_whole(known)
            assert upload.offset == len(known.content) or not upload.is_complete

    def is_whole(self, known: Known) -> bool:
        """A final upload is complete when its parts are, any other when a request brought its end."""
        return all(self.known[part].ended for part in known.parts) if known.kind is Kind.FINAL else known.ended

    @invariant()
    def completions_run_post_finish(self) -> None:
        """post-finish has run exactly once for each complete regular and final upload: nothing failed here."""
        for upload_id, known in self.known.items():
            raised = self.finished.count(upload_id)
            if known.kind is Kind.PARTIAL:
                assert raised == 0
            elif not known.gone:
                upload = self.runner.run(self.harness.record(upload_id))
                assert upload is not None
                assert raised == int(upload.is_complete)


class DiskUploadsMachine(UploadsMachine):
    """The same over files."""

    def make_store(self) -> Store:
        self.folder = Path(tempfile.mkdtemp(prefix="tusd-py-test-"))
        return DiskStore(self.folder / "uploads")

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


TestUploadsInMemory = UploadsMachine.TestCase
TestUploadsInMemory.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestUploadsOnDisk = DiskUploadsMachine.TestCase
TestUploadsOnDisk.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.long
class TestUploadsInMemoryLong(UploadsMachine.TestCase):  # type: ignore[misc, valid-type]  # made by Hypothesis
    """More histories."""

    settings = settings(TestUploadsInMemory.settings, max_examples=500)


@pytest.mark.long
class TestUploadsOnDiskLong(DiskUploadsMachine.TestCase):  # type: ignore[misc, valid-type]  # made by Hypothesis
    """More histories."""

    settings = settings(TestUploadsOnDisk.settings, max_examples=200)
