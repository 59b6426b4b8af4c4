"""Room in the quotas for uploads of deferred length: what a body may bring before its save is charged.

Such an upload is charged what it has got. A body with a checksum is saved at its end only, so without a look at the
quotas before, it could fill the disk with bytes that are refused in the end.
"""

from __future__ import annotations

from tusd_py.access.quota import subject_of
from tusd_py.model.caller import Caller
from tusd_py.model.quota import ExhaustedQuota
from tusd_py.model.upload import Upload
from tusd_py.protocol.requests import BodyInfo
from tusd_py.protocol.rules import Remaining
from tusd_py.uploads.ports import Ports


def needs_room(ports: Ports, upload: Upload, length: int | None, body: BodyInfo) -> bool:
    """Whether ``body`` is saved at its end only, without a length that is charged before; ``length`` as it will be."""
    return ports.quotas is not None and upload.length is None and length is None and body.is_verified


async def within_quota(ports: Ports, upload: Upload, caller: Caller, body: BodyInfo, remaining: Remaining) -> Remaining:
    """``remaining``, or less if the quotas have less left. Raises ``QuotaReached`` for a body that cannot fit."""
    assert ports.quotas is not None, "needs_room has looked"
    if ports.quota_ledger is None:
        return remaining
    subject = subject_of(upload.owner, caller.client)
    limits = ports.quotas.limits_for(caller.principal).replaced(await ports.quota_ledger.find_limits(subject))
    usage = await ports.quota_ledger.usage(subject, ports.quotas.periods(upload.created_at))
    left = [
        (limit - each.used, ExhaustedQuota(each.quota, limit, each.used))
        for each in usage
        if each.quota.counts_bytes and (limit := limits.of(each.quota)) is not None
    ]
    if not left:
        return remaining
    room, exhausted = min(left, key=lambda each: each[0])
    if remaining.bytes is not None and remaining.bytes <= room:
        return remaining
    refusal = ports.quotas.refusal(exhausted, upload.created_at)
    if body.length is not None and body.length > room:
        raise refusal
    return Remaining(max(0, room), refusal)


def may_have_unrecorded(ports: Ports, upload: Upload) -> bool:
    """Whether bytes that were charged to no quota may be stored behind the recorded ones."""
    return ports.quotas is not None and upload.length is None and not upload.is_complete


async def drop_unrecorded(ports: Ports, upload: Upload) -> None:
    """Remove bytes behind the recorded ones: those of a body with a checksum that another request has interrupted.

    The caller holds the lock. The interrupted request cannot do it: it may have lost the lock.
    """
    if await ports.store.size(upload) > upload.offset:
        sink = ports.store.open(upload)
        try:
            await sink.discard(upload.offset)
        finally:
            await sink.close()
