"""What nobody finished, or nobody needs any longer, is taken away; and what a crash left undone is taken up again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from tusd_py.contracts.records import RecordConflict
from tusd_py.contracts.store import StoreError
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.uploads.commit import update
from tusd_py.uploads.locking import locked
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.assemble import schedule_assembly
from tusd_py.uploads.processing.finish import finish

log = logging.getLogger(__name__)

_BATCH = 200
_GRACE = timedelta(minutes=5)
_FAR = datetime.max.replace(tzinfo=UTC)
# What others need is looked at again this soon: they may end long before they expire.
_LOOK_AGAIN = timedelta(days=1)


@dataclass(slots=True)
class Swept:
    """What one pass did, in uploads."""

    expired: int = 0
    pruned: int = 0  # tombstones removed
    skipped: int = 0  # due, but in use


async def sweep(ports: Ports) -> Swept:
    """Expire every upload whose time has come, erase its bytes, and forget tombstones that are old enough.

    Never disturbs an upload that somebody is writing to. A crash at any point is made good by the next pass.
    """
    swept = Swept()
    seen: set[str] = set()
    while True:
        # Those kept may still be due; all others are not any more.
        limit = _BATCH + swept.skipped
        due = [upload for upload in await ports.records.due(ports.clock(), limit) if upload.id not in seen]
        if not due:
            return swept
        for upload in due:
            seen.add(upload.id)
            await _sweep_one(ports, upload.id, swept)


async def prune(ports: Ports, keep_seconds: float) -> int:
    """Forget what happened before so many seconds ago, and the jobs done by then; 0 keeps all. Returns how many."""
    if ports.job_queue is None or not keep_seconds:
        return 0
    before = ports.clock() - timedelta(seconds=keep_seconds)
    total = 0
    while (forgotten := await ports.job_queue.prune(before, _BATCH)) > 0:
        total += forgotten
    return total


async def _sweep_one(ports: Ports, upload_id: str, swept: Swept) -> None:
    lock = await ports.locker.try_acquire(upload_id)
    if lock is None:
        swept.skipped += 1
        return
    try:
        upload = await ports.records.find(upload_id)
        now = ports.clock()
        if upload is None or upload.expires_at is None or upload.expires_at > now:
            return
        if upload.has_ended:
            # Once more, for a crash may have come between the tombstone and the erasing.
            await ports.store.delete(upload)
            await ports.records.delete(upload)
            swept.pruned += 1
        elif (needed := await _needed_until(ports, upload)) is not None and needed > now:
            await update(ports, upload, upload.expiring(min(needed, now + _LOOK_AGAIN)))
            swept.skipped += 1
        else:
            await _expire(ports, upload)
            swept.expired += 1
    except RecordConflict:
        # Somebody without a hold changed it (a background task): the next pass sees it as it then is.
        swept.skipped += 1
    except StoreError as failure:
        # One file that cannot be removed must not keep all that expire after it: its tombstone stays for another try.
        log.warning("the bytes of upload %s cannot be erased, which is tried again later: %s", upload_id, failure)
        swept.skipped += 1
    finally:
        await lock.release()


async def _expire(ports: Ports, upload: Upload) -> None:
    now = ports.clock()
    ended = upload.with_status(Status.EXPIRED, now)
    ended = await update(ports, upload, ended.expiring(ports.policy.expiry(ended, now)))
    await ports.store.delete(ended)


async def _needed_until(ports: Ports, upload: Upload) -> datetime | None:
    """Until when others still need ``upload``; None when nobody does.

    A partial upload is needed as long as a final upload that is not joined; such a final upload as long as one of its
    unfinished parts may still go on. When the parts stand still, the final expires first and they follow.
    """
    if upload.kind is Kind.PARTIAL:
        # The final's own time is put right only when it is swept, which may be after this part: so its parts are asked.
        finals = await ports.records.finals_waiting(upload.id)
        times = [(final.expires_at or _FAR, await _needed_until(ports, final)) for final in finals]
        return max((max(own, needed or own) for own, needed in times), default=None)
    if upload.kind is Kind.FINAL and not upload.is_complete:
        if upload.status is Status.PROCESSING:
            schedule_assembly(ports, upload)
            return ports.policy.expiry(upload, ports.clock()) or _FAR
        parts = [part for part in await ports.records.find_all(upload.parts) if part is not None]
        return max((part.expires_at or _FAR for part in parts if not part.is_complete), default=None)
    return None


async def recover(ports: Ports) -> int:
    """Take up what a crash or a restart left undone: hooks not told, final uploads not joined. Returns how many.

    What changed since this process started is left alone for a while: another process may be busy with it.
    """
    count, after_id = 0, ""
    settled_by_others = ports.clock() - _GRACE
    while unsettled := await ports.records.needing_recovery(_BATCH, after_id):
        for upload in unsettled:
            if not upload.is_complete:
                schedule_assembly(ports, upload)
            elif upload.updated_at < ports.opened_at or upload.updated_at < settled_by_others:
                ports.background.spawn_once(f"{upload.id}.resume", partial(_finish, ports, upload.id))
                count += 1
        after_id = unsettled[-1].id
    return count


async def _finish(ports: Ports, upload_id: str) -> None:
    async with locked(ports, upload_id):
        upload = await ports.records.find(upload_id)
        if upload is not None and upload.is_complete:
            await finish(ports, upload, None)
