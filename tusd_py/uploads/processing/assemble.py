"""The step ``assembly``: concatenate a final upload whose parts were incomplete, or too large to do it at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from tusd_py.contracts.records import RecordConflict
from tusd_py.contracts.store import BytesMissing, StoreError
from tusd_py.model.jobs import Job
from tusd_py.model.steps import ASSEMBLY
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol import rules
from tusd_py.protocol.access_errors import QuotaReached
from tusd_py.protocol.errors import MaxSizeExceeded
from tusd_py.uploads.background import TaskKind, task_key
from tusd_py.uploads.commit import step_job, update
from tusd_py.uploads.locking import locked
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.finish import completed, finish
from tusd_py.uploads.processing.step_progress import StepProgress
from tusd_py.uploads.terminate import terminate_locked

log = logging.getLogger(__name__)

# How often a final upload that changed during its assembly is tried again at once.
_ATTEMPTS_MAX = 3


class AlreadyAssembling(Exception):
    """Another process is assembling this upload; the job must check later whether it succeeded."""


def schedule_assembly(ports: Ports, final: Upload, client: str = "") -> None:
    """Assemble ``final`` in the background if its parts are complete by then; otherwise nothing happens.

    A worker assembles it if one is configured (``UploadPolicy.assemble_in_worker``), else this process. It bounds the
    assemblies of one ``client`` that run at once; the client is empty without a request, such as after a restart.
    """
    # Once more even if it is running: it may have read the parts just before the last of them became complete.
    ports.background.spawn_once(
        task_key(TaskKind.ASSEMBLE, final.id),
        lambda: (
            _enqueue(ports, final.id) if ports.policy.assemble_in_worker else _assemble_here(ports, final.id, client)
        ),
    )


def part_completed(ports: Ports, part: Upload) -> None:
    """Schedule the assembly of the final uploads that wait for ``part``, which has all its bytes now."""
    if part.kind is Kind.PARTIAL:
        ports.background.spawn(task_key(TaskKind.WAKE_FINALS, part.id), _wake_finals(ports, part.id))


async def assemble(ports: Ports, job: Job) -> None:
    """Concatenate the final upload of ``job``, finish it, and delete its parts where the policy says so.

    The record shows what is done, so that a repetition after a crash continues with the rest. The caller completes the
    job. Raises ``StoreError``, ``RecordsError``, ``HookFailed`` or ``AlreadyAssembling``: retry the job later.
    """
    lock = await ports.locker.try_acquire(task_key(TaskKind.ASSEMBLE, job.upload_id))
    if lock is None:
        raise AlreadyAssembling(f"upload {job.upload_id} is being assembled by another process")
    try:
        await _assemble_and_finish(ports, job.upload_id)
    finally:
        await lock.release()


async def delete_parts(ports: Ports, final: Upload) -> None:
    """Delete the parts of an assembled upload, where the policy says so, unless another final upload waits for them."""
    for part_id in dict.fromkeys(final.parts if ports.policy.delete_concatenated_parts else ()):
        async with locked(ports, part_id):
            part = await ports.records.find(part_id)
            # A final upload that is assembled may still be processed, but it no longer needs its parts.
            waiting = [final for final in await ports.records.finals_waiting(part_id) if not final.is_complete]
            if part is not None and not part.has_ended and not waiting:
                await terminate_locked(ports, part, None)


def with_concatenated_bytes(ports: Ports, final: Upload, length: int, storage: Mapping[str, object]) -> Upload:
    """The final upload as complete, with the ``length`` bytes of its parts."""
    now = ports.clock()
    after = completed(ports, final.declare_length(length).advance(length, now, storage))
    return after.expiring(ports.policy.expiry(after, now))


async def _wake_finals(ports: Ports, part_id: str) -> None:
    for final in await ports.records.finals_waiting(part_id):
        schedule_assembly(ports, final)


async def _enqueue(ports: Ports, final_id: str) -> None:
    """Add the job once the parts are complete: a job that ran too early would never be added again."""
    final = await ports.records.find(final_id)
    if final is None or final.status not in (Status.UPLOADING, Status.PROCESSING):
        return
    if final.is_complete:
        await finish(ports, final, None)
        return
    parts = await _parts(ports, final)
    if _cannot_complete(final, parts) or all(part.is_complete for part in parts):
        assert ports.job_queue is not None, "a policy with workers has a job queue"
        await ports.job_queue.add_jobs([step_job(final, ASSEMBLY.name)], ports.clock())


async def _assemble_here(ports: Ports, final_id: str, client: str) -> None:
    async with ports.concatenations.acquired(client, wait_seconds=None):
        await _assemble_in_slot(ports, final_id)


async def _assemble_in_slot(ports: Ports, final_id: str) -> None:
    # Not the lock of the upload itself: a HEAD must not wait for gigabytes, and no request may stop the assembly.
    lock = await ports.locker.try_acquire(task_key(TaskKind.ASSEMBLE, final_id))
    if lock is None:
        return
    try:
        for _ in range(_ATTEMPTS_MAX):
            try:
                await _assemble_and_finish(ports, final_id)
                break
            except RecordConflict:
                # The upload was terminated (its bytes go with it or with its tombstone), or an earlier save that seemed
                # to fail was made after all; the next attempt sees which.
                log.info("upload %s changed during its assembly", final_id)
            except StoreError:
                # The store is full or unavailable. The next HEAD or start tries again.
                log.exception("could not assemble upload %s, retrying later", final_id)
                break
    finally:
        await lock.release()


async def _assemble_and_finish(ports: Ports, final_id: str) -> None:
    """Concatenate the final upload if its parts are complete, and finish it.

    Raises ``RecordConflict`` if the record changed meanwhile, ``StoreError`` if the store cannot do it now.
    """
    final = await ports.records.find(final_id)
    if final is not None and not final.is_complete and final.status in (Status.UPLOADING, Status.PROCESSING):
        final = await _concatenate(ports, final)
    if final is None or not final.is_complete or final.has_ended:
        return
    await finish(ports, final, None)
    await delete_parts(ports, final)


async def _concatenate(ports: Ports, final: Upload) -> Upload | None:
    """The upload with the bytes of its parts; ``None`` while parts are incomplete; ``FAILED`` if a part is gone."""
    parts = await _parts(ports, final)
    if _cannot_complete(final, parts):
        return await _fail(ports, final, "a partial upload is gone")
    if not all(part.is_complete for part in parts):
        return None
    length = sum(part.offset for part in parts)
    try:
        rules.ensure_allowed_length(length, ports.policy.limits)
    except MaxSizeExceeded:
        return await _fail(ports, final, f"the parts have {length} bytes, more than an upload may have")
    now = ports.clock()
    if final.status is Status.UPLOADING:
        try:
            final = await update(ports, final, final.declare_length(length).with_status(Status.PROCESSING, now))
        except QuotaReached:
            return await _fail(ports, final, f"the parts have {length} bytes, more than the quota of the owner allows")
    progress = StepProgress(ports, final, ASSEMBLY)
    try:
        storage = await ports.store.concatenate(final, parts, progress.report)
    except BytesMissing:
        return await _fail(ports, progress.upload, "the bytes of a partial upload are gone")
    final = progress.upload
    details = {"done_bytes": str(length), "length": str(length)}
    done = final.report_step(ASSEMBLY.name, ports.clock(), details)
    final = await update(ports, final, with_concatenated_bytes(ports, done, length, storage))
    ports.count_complete(final)
    return final


async def _parts(ports: Ports, final: Upload) -> list[Upload]:
    return [part for part in await ports.records.find_all(final.parts) if part is not None]


def _cannot_complete(final: Upload, parts: Sequence[Upload]) -> bool:
    """Whether a part is gone, or will never be complete."""
    return len(parts) < len(final.parts) or any(part.has_ended or part.status is Status.FAILED for part in parts)


async def _fail(ports: Ports, final: Upload, reason: str) -> Upload:
    now = ports.clock()
    failed = final.fail_step(ASSEMBLY.name, Status.FAILED, now, reason)
    return await update(ports, final, failed.expiring(ports.policy.expiry(failed, now)))
