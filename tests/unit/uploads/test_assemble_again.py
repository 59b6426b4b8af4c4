"""A final upload that changes while it is joined."""

from __future__ import annotations

import pytest

from tests.support.harness import UploadsHarness
from tusd_py.contracts.records import RecordConflict
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Kind, Upload
from tusd_py.records.memory import MemoryRecords
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio


class LateSave(MemoryRecords):
    """A save of an earlier try that was given up comes through just before ours: once."""

    came = False

    async def update(self, before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> Upload:
        if before.kind is Kind.FINAL and not self.came:
            self.came = True
            await super().update(before, after, effects)
            raise RecordConflict
        return await super().update(before, after, effects)


async def test_a_final_upload_that_changed_is_looked_at_again() -> None:
    """The joining goes on from what the record then says, without waiting for a request or the sweeper."""
    harness = UploadsHarness(records=LateSave(), policy=UploadPolicy(concatenate_at_once_bytes_max=0))
    part = (await harness.create(4, b"abcd", kind=Kind.PARTIAL)).upload.id
    await harness.settle()  # or the part, when it is told of, would look at the final upload once more
    final = (await harness.create(None, kind=Kind.FINAL, parts=[part, part])).upload.id
    await harness.settle()
    assert await harness.content(final) == b"abcdabcd"
