"""Joining a final upload in the background: its parts were unfinished, or too large to keep a client waiting."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from tusd_py.contracts.records import RecordConflict
from tusd_py.contracts.store import BytesMissing, StoreError
from tusd_py.model.jobs import Job, NewJob
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.uploads.commit import update
from tusd_py.uploads.locking import locked
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.finish import completed, finish
from tusd_py.uploads.processing.step_progress import StepProgress
from tusd_py.uploads.terminate import terminate_locked

log = logging.getLogger(__name__)

#: The actor that joins, and the name of that step in an upload's history.
ASSEMBLY = "assembly"

# How often a final upload is looked at again because it changed while it was joined.
_TRIES = 3


def schedule_assembly(ports: Ports, final: Upload) -> None:
    """Have ``final`` joined if its parts are complete by now; otherwise, or when it is done, do nothing.

    It is joined by a worker where there is one (``Ports.assemble_in_worker``), else in the background of this process.
    """
    # A dot is in no id, so this names no upload. Once more when it runs already: it may have looked at the parts just
    # before the last of them became complete.
    ports.background.spawn_once(
        f"{final.id}.join", lambda: (_enqueue if ports.policy.assemble_in_worker else _assemble)(ports, final.id)
    )


def part_completed(ports: Ports, part: Upload) -> None:
    """A partial upload has all its bytes: the final uploads that waited for it may go on."""
    if part.kind is Kind.PARTIAL:
        ports.background.spawn(f"{part.id}.finals", _wake_finals(ports, part.id))


async def _wake_finals(ports: Ports, part_id: str) -> None:
    for final in await ports.records.finals_waiting(part_id):
        schedule_assembly(ports, final)


async def _enqueue(ports: Ports, final_id: str) -> None:
    """Make the job, once there is something to do: one that was done before its time would never be made again."""
    final = await ports.records.find(final_id)
    if final is None or final.status not in (Status.UPLOADING, Status.PROCESSING):
        return
    if final.is_complete:
        await finish(ports, final, None)
        return
    parts = await _parts(ports, final)
    if _cannot_complete(final, parts) or all(part.is_complete for part in parts):
        assert ports.job_queue is not None, "whoever makes jobs has a place for them"
        job = NewJob(actor=ASSEMBLY, key=f"{final.id} {ASSEMBLY}", upload_id=final.id, sequence_key=f"{final.id} steps")
        await ports.job_queue.add_jobs([job], ports.clock())


class AlreadyJoining(Exception):
    """Another process is at it: look again later whether it came to an end."""


async def assemble(ports: Ports, job: Job) -> None:
    """Join the final upload that ``job`` is about, finish it, and delete its parts where that is wanted.

    How far it is stands in the record. Asked again after a crash it goes on with what is not done; whoever gives the
    job out ends it. Raises ``StoreError``, ``RecordsError``, ``HookFailed`` or ``AlreadyJoining``: try again later.
    """
    lock = await ports.locker.try_acquire(f"{job.upload_id}.join")
    if lock is None:
        raise AlreadyJoining(f"upload {job.upload_id} is being joined by another process")
    try:
        await _join_and_finish(ports, job.upload_id)
    finally:
        await lock.release()


async def _assemble(ports: Ports, final_id: str) -> None:
    # Not the hold of the upload itself: a HEAD must not wait for gigabytes, and none may stop the joining.
    lock = await ports.locker.try_acquire(f"{final_id}.join")
    if lock is None:
        return
    try:
        for _ in range(_TRIES):
            try:
                await _join_and_finish(ports, final_id)
                break
            except RecordConflict:
                # Terminated meanwhile: its bytes went with it, or go with its tombstone. Or a save of an earlier try
                # that was given up came through after all: then the next look finds it.
                log.info("upload %s changed while it was joined", final_id)
            except StoreError:
                # Full or out of reach: it stays as it is, and is tried again by the next HEAD or start.
                log.exception("joining upload %s failed; it will be tried again", final_id)
                break
    finally:
        await lock.release()


async def _join_and_finish(ports: Ports, final_id: str) -> None:
    """Join the final upload if it can be now, and finish it.

    Raises ``RecordConflict`` if it changed meanwhile, ``StoreError`` if it cannot be joined now.
    """
    final = await ports.records.find(final_id)
    if final is not None and not final.is_complete and final.status in (Status.UPLOADING, Status.PROCESSING):
        final = await _join(ports, final)
    if final is None or not final.is_complete or final.has_ended:
        return
    await finish(ports, final, None)
    await delete_parts(ports, final)


async def delete_parts(ports: Ports, final: Upload) -> None:
    """Delete the parts of a joined upload, where that is wanted, but those that another final upload waits for."""
    for part_id in dict.fromkeys(final.parts if ports.policy.delete_concatenated_parts else ()):
        async with locked(ports, part_id):
            part = await ports.records.find(part_id)
            # One that is joined may still be processed: it needs its parts no longer.
            waiting = [final for final in await ports.records.finals_waiting(part_id) if not final.is_complete]
            if part is not None and not part.has_ended and not waiting:
                await terminate_locked(ports, part, None)


async def _join(ports: Ports, final: Upload) -> Upload | None:
    """The joined upload; None while parts are unfinished. A part that is gone makes it impossible: ``FAILED``."""
    parts = await _parts(ports, final)
    if _cannot_complete(final, parts):
        return await _fail(ports, final, "a partial upload is gone")
    if not all(part.is_complete for part in parts):
        return None
    length = sum(part.offset for part in parts)
    if ports.policy.limits.length_max and length > ports.policy.limits.length_max:
        return await _fail(ports, final, f"the parts have {length} bytes, more than an upload may have")
    now = ports.clock()
    if final.status is Status.UPLOADING:
        final = await update(ports, final, final.declare_length(length).with_status(Status.PROCESSING, now))
    progress = StepProgress(ports, final, ASSEMBLY)
    try:
        storage = await ports.store.concatenate(final, parts, progress.tell)
    except BytesMissing:
        return await _fail(ports, progress.upload, "the bytes of a partial upload are gone")
    final = progress.upload
    facts = {"done_bytes": str(length), "length": str(length)}
    done = final.report_step(ASSEMBLY, ports.clock(), facts)
    final = await update(ports, final, with_concatenated_bytes(ports, done, length, storage))
    ports.count_complete(final)
    return final


def with_concatenated_bytes(ports: Ports, final: Upload, length: int, storage: Mapping[str, object]) -> Upload:
    """The final upload with the bytes of its parts, complete."""
    now = ports.clock()
    after = completed(ports, final.declare_length(length).advance(length, now, storage))
    return after.expiring(ports.policy.expiry(after, now))


async def _parts(ports: Ports, final: Upload) -> list[Upload]:
    return [part for part in await ports.records.find_all(final.parts) if part is not None]


def _cannot_complete(final: Upload, parts: Sequence[Upload]) -> bool:
    """Whether a part is gone, or will never be complete."""
    return len(parts) < len(final.parts) or any(part.has_ended or part.status is Status.FAILED for part in parts)


async def _fail(ports: Ports, final: Upload, reason: str) -> Upload:
    now = ports.clock()
    failed = final.fail_step(ASSEMBLY, Status.FAILED, now, reason)
    return await update(ports, final, failed.expiring(ports.policy.expiry(failed, now)))
