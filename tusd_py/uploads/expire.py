"""The sweeper's passes: expire uploads whose time has come, prune old events, and recover what a crash interrupted."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from tusd_py.contracts.records import RecordConflict
from tusd_py.contracts.store import StoreError
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.uploads.background import TaskKind, task_key
from tusd_py.uploads.commit import update
from tusd_py.uploads.failure_streak import FailureStreak
from tusd_py.uploads.locking import locked
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.assemble import schedule_assembly
from tusd_py.uploads.processing.finish import finish

log = logging.getLogger(__name__)

_BATCH = 200
# How long other processes have for what they do with an upload.
_GRACE = timedelta(minutes=5)
_NEVER = datetime.max.replace(tzinfo=UTC)
# An upload that others need is examined again this soon: they may end long before they expire.
_POSTPONED = timedelta(days=1)


@dataclass(slots=True)
class Swept:
    """The result of one pass, in uploads."""

    expired: int = 0
    pruned: int = 0  # tombstones removed
    skipped: int = 0  # due, but in use


async def sweep(ports: Ports) -> Swept:
    """Expire every upload whose time has come, delete its bytes, and prune tombstones that are old enough.

    Uploads that a client is writing to are skipped. After a crash, and when the store is down, the next pass completes
    what was left.
    """
    swept = Swept()
    failures = FailureStreak()
    seen: set[str] = set()
    while True:
        # Only skipped uploads can still be due.
        limit = _BATCH + swept.skipped
        due = [upload for upload in await ports.records.due(ports.clock(), limit) if upload.id not in seen]
        if not due:
            return swept
        for upload in due:
            seen.add(upload.id)
            try:
                await _sweep_one(ports, upload.id, swept, failures)
            except StoreError as failure:
                log.warning("expired uploads wait for the store: %s", failure)
                return swept


async def prune(ports: Ports, keep_seconds: float) -> int:
    """Delete events and completed jobs older than ``keep_seconds`` (0 keeps all) and return how many were deleted."""
    if ports.job_queue is None or not keep_seconds:
        return 0
    before = ports.clock() - timedelta(seconds=keep_seconds)
    total = 0
    while (pruned := await ports.job_queue.prune(before, _BATCH)) > 0:
        total += pruned
    return total


async def prune_dead(ports: Ports, keep_seconds: float) -> int:
    """Delete dead jobs of ended uploads that died ``keep_seconds`` ago (0 keeps all) and return how many."""
    if ports.job_queue is None or not keep_seconds:
        return 0
    before = ports.clock() - timedelta(seconds=keep_seconds)
    total = 0
    while (pruned := await ports.job_queue.prune_dead(before, _BATCH)) > 0:
        total += pruned
    return total


async def _sweep_one(ports: Ports, upload_id: str, swept: Swept, failures: FailureStreak) -> None:
    """Raises ``StoreError`` if the store is down."""
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
            # Again, since a crash may have come between the tombstone and this.
            await ports.store.delete(upload)
            failures.end()
            await ports.records.delete(upload)
            swept.pruned += 1
        elif (needed := await _needed_until(ports, upload)) is not None and needed > now:
            await update(ports, upload, upload.expiring(min(needed, now + _POSTPONED)))
            swept.skipped += 1
        else:
            await expire_locked(ports, upload)
            failures.end()
            swept.expired += 1
    except RecordConflict:
        # Background work changed the record without the lock: the next pass sees the new state.
        swept.skipped += 1
    except StoreError as failure:
        # One file that cannot be deleted must not stop the pass: its tombstone stays for the next one.
        log.warning("could not delete the bytes of upload %s, retrying later: %s", upload_id, failure)
        swept.skipped += 1
        failures.add(str(failure))
    finally:
        await lock.release()


async def expire_locked(ports: Ports, upload: Upload) -> None:
    """Expire an upload whose lock the caller holds: first its record, then its bytes."""
    now = ports.clock()
    ended = upload.with_status(Status.EXPIRED, now)
    ended = await update(ports, upload, ended.expiring(ports.policy.expiry(ended, now)))
    await ports.store.delete(ended)


async def _needed_until(ports: Ports, upload: Upload) -> datetime | None:
    """Until when other uploads need ``upload``; ``None`` if none does.

    A final upload that is not assembled needs its parts, and is itself kept as long as one of its unfinished parts can
    still be resumed. If the parts make no progress, the final upload expires first and the parts after it.
    """
    if upload.kind is Kind.PARTIAL:
        # The expiry of a final upload is corrected only when it is swept, perhaps after this part: use its parts.
        finals = await ports.records.finals_waiting(upload.id)
        times = [(final.expires_at or _NEVER, await _needed_until(ports, final)) for final in finals]
        return max((max(own, needed or own) for own, needed in times), default=None)
    if upload.kind is Kind.FINAL and not upload.is_complete:
        if upload.status is Status.PROCESSING:
            schedule_assembly(ports, upload)
            return ports.policy.expiry(upload, ports.clock()) or _NEVER
        parts = [part for part in await ports.records.find_all(upload.parts) if part is not None]
        return max((part.expires_at or _NEVER for part in parts if not part.is_complete), default=None)
    return None


async def recover(ports: Ports) -> int:
    """Continue what a crash or a restart interrupted: hooks not invoked, final uploads not assembled. Returns how many.

    An upload that changed recently, after this process started, is left alone: another process may be busy with it. One
    that seems to have changed later than now is continued: the clock was set back.
    """
    count, after_id = 0, ""
    now = ports.clock()
    recent = (max(ports.opened_at, now - _GRACE), now + _GRACE)
    while interrupted := await ports.records.needing_recovery(_BATCH, after_id):
        for upload in interrupted:
            if not upload.is_complete:
                schedule_assembly(ports, upload)
            elif not recent[0] <= upload.updated_at <= recent[1]:
                key = task_key(TaskKind.RECOVER, upload.id)
                ports.background.spawn_once(key, partial(_finish, ports, upload.id))
                count += 1
        after_id = interrupted[-1].id
    return count


async def _finish(ports: Ports, upload_id: str) -> None:
    async with locked(ports, upload_id):
        upload = await ports.records.find(upload_id)
        if upload is not None and upload.is_complete:
            await finish(ports, upload, None)
