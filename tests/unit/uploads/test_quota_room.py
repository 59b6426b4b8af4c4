"""Uploads of deferred length with quotas: bodies that are saved at their end only, and bytes that nothing charges."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha1

import pytest

from tests.support.harness import CALLER, FakeBody, UploadsHarness
from tests.support.waiting import eventually
from tusd_py.access.quota import QuotaPolicy
from tusd_py.model.caller import Caller
from tusd_py.model.quota import Quota, QuotaLimits, QuotaPeriods, QuotaUsage, SubjectLimits
from tusd_py.model.upload import Upload
from tusd_py.protocol.access_errors import QuotaReached
from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.errors import UploadInterrupted
from tusd_py.storage.memory import MemoryStore

pytestmark = pytest.mark.anyio


class Ledger:
    """A ledger in which every subject has used 60 bytes of each quota of bytes, and has no limits of its own."""

    async def find_limits(self, subject: str) -> SubjectLimits:
        assert subject == "user:alice"
        return {}

    async def usage(self, subject: str, periods: QuotaPeriods) -> list[QuotaUsage]:
        return [QuotaUsage(quota=quota, period=periods.of(quota), used=60, reserved=0) for quota in Quota]


class Uncharged(QuotaPolicy):
    """Quotas without charges, which need a database."""

    def charge(self, before: Upload | None, after: Upload, caller: Caller | None) -> None:
        return None


@pytest.fixture
def harness() -> UploadsHarness:
    made = UploadsHarness()
    made.caller = replace(CALLER, owner="alice")
    limits = QuotaLimits(bytes_per_day=100, bytes_per_month=1000, files_per_day=1)
    made.ports = replace(made.ports, quotas=Uncharged(limits=limits), quota_ledger=Ledger())  # type: ignore[arg-type]
    return made


def stored(harness: UploadsHarness) -> int:
    assert isinstance(harness.store, MemoryStore)
    return sum(map(len, harness.store.uploads.values()))


def checksum(content: bytes) -> Checksum:
    return Checksum("sha1", sha1(content).digest())


@pytest.mark.parametrize("is_new", [True, False], ids=["POST", "PATCH"])
@pytest.mark.parametrize("announced", [True, False], ids=["with a length", "chunked"])
async def test_body_with_checksum_beyond_the_quota_413(harness: UploadsHarness, is_new: bool, announced: bool) -> None:
    """It is refused before it is read, or at the byte that does not fit; nothing of it stays. What fits is stored."""

    def sent(content: bytes) -> Callable[[], object]:
        length = len(content) if announced else None
        if is_new:
            return lambda: harness.create(None, content, checksum=checksum(content), content_length=length)
        return lambda: harness.append("u1", 0, content, checksum=checksum(content), content_length=length)

    if not is_new:
        await harness.create(None)
    with pytest.raises(QuotaReached) as reached:
        await sent(b"x" * 41)()  # type: ignore[misc]  # a coroutine function
    assert (reached.value.quota, reached.value.used) == ("bytes_per_day", 60)
    assert stored(harness) == 0
    await sent(b"x" * 40)()  # type: ignore[misc]
    assert stored(harness) == 40


@pytest.mark.parametrize("by", ["HEAD", "PATCH"])
async def test_interrupted_body_with_checksum_leaves_no_bytes(harness: UploadsHarness, by: str) -> None:
    """The request that takes the upload over removes what the earlier one had stored and not recorded."""
    upload_id = (await harness.create(None)).upload.id
    await harness.append(upload_id, 0, b"abc")
    content = b"x" * 30
    body = FakeBody(content, asyncio.Event())
    running = asyncio.create_task(harness.append(upload_id, 3, body=body, checksum=checksum(content)))
    await eventually(lambda: stored(harness) == 33)
    if by == "HEAD":
        assert (await harness.inspect(upload_id)).upload.offset == 3
        assert stored(harness) == 3
    else:
        await harness.append(upload_id, 3, b"d")
        assert stored(harness) == 4
    with pytest.raises(UploadInterrupted):
        await running
