"""The operator's deletion and expiry: without pre-terminate, with the tombstone, and with sentences for refusals."""

from __future__ import annotations

import pytest

from tests.support.harness import UploadsHarness
from tusd_py.contracts.hooks import HookResponse
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Status
from tusd_py.uploads.administer import CannotEnd, delete_upload, expire_upload

pytestmark = pytest.mark.anyio


async def test_operator_ends_upload_whatever_pre_terminate_says() -> None:
    """The upload is terminated or expired, its bytes are deleted, and pre-terminate is not invoked."""
    harness = UploadsHarness(functions={Hook.PRE_TERMINATE: lambda _: HookResponse(reject=True)})
    for end, status in ((delete_upload, Status.TERMINATED), (expire_upload, Status.EXPIRED)):
        upload_id = (await harness.create(4, b"01")).upload.id
        ended = await end(harness.ports, upload_id)
        assert (status, 0) == (ended.status, await harness.store.size(ended))
        assert ended == await harness.record(upload_id)
        with pytest.raises(CannotEnd, match=f"is {status} already"):
            await end(harness.ports, upload_id)


async def test_unknown_upload_cannot_be_ended() -> None:
    """The sentence says that the upload does not exist."""
    with pytest.raises(CannotEnd, match="does not exist"):
        await delete_upload(UploadsHarness().ports, "unknown")
