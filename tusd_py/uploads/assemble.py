"""Joining a final upload in the background: its parts were unfinished, or too large to keep a client waiting."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from tusd_py.contracts.records import RecordConflict
from tusd_py.contracts.store import BytesMissing, StoreError
from tusd_py.protocol.upload import Kind, Status, Upload
from tusd_py.uploads.finish import completed, finish
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.recording import save

log = logging.getLogger(__name__)

# How often a final upload is looked at again because it changed while it was joined.
_TRIES = 3


def consider(ports: Ports, final: Upload) -> None:
    """Join ``final`` in the background if its parts are complete by now; otherwise, or when it is done, do nothing."""
    # A dot is in no id, so this names no upload. Once more when it runs already: it may have looked at the parts just
    # before the last of them became complete.
    ports.background.spawn_once(f"{final.id}.join", lambda: _assemble(ports, final.id))


def part_completed(ports: Ports, part: Upload) -> None:
    """A partial upload has all its bytes: the final uploads that waited for it may go on."""
    if part.kind is Kind.PARTIAL:
        ports.background.spawn(f"{part.id}.finals", _pass_on(ports, part.id))


async def _pass_on(ports: Ports, part_id: str) -> None:
    for final in await ports.records.finals_waiting(part_id):
        consider(ports, final)


async def _assemble(ports: Ports, final_id: str) -> None:
    # Not the hold of the upload itself: a HEAD must not wait for gigabytes, and none may stop the joining.
    hold = await ports.locker.try_acquire(f"{final_id}.join")
    if hold is None:
        return
    try:
        for _ in range(_TRIES):
            try:
                await _bring_on(ports, final_id)
                break
            except RecordConflict:
                # Terminated meanwhile: its bytes went with it, or go with its tombstone. Or a save of an earlier try
                # that was given up came through after all: then the next look finds it.
                log.info("upload %s changed while it was joined", final_id)
    finally:
        await hold.release()


async def _bring_on(ports: Ports, final_id: str) -> None:
    """Join the final upload if it can be now, and finish it. Raises ``RecordConflict`` if it changed meanwhile."""
    final = await ports.records.find(final_id)
    if final is None or final.status not in (Status.UPLOADING, Status.PROCESSING):
        return
    if not final.is_complete:
        final = await _join(ports, final)
    if final is not None and final.is_complete:
        await finish(ports, final, None)


async def _join(ports: Ports, final: Upload) -> Upload | None:
    """The joined upload; None while parts are unfinished. A part that is gone makes it impossible: ``FAILED``."""
    parts = [part for part in await ports.records.find_all(final.parts) if part is not None]
    if len(parts) < len(final.parts) or any(part.has_ended or part.status is Status.FAILED for part in parts):
        return await _fail(ports, final, "a partial upload is gone")
    if not all(part.is_complete for part in parts):
        return None
    length = sum(part.offset for part in parts)
    if ports.limits.length_max and length > ports.limits.length_max:
        return await _fail(ports, final, f"the parts have {length} bytes, more than an upload may have")
    now = ports.clock()
    if final.status is Status.UPLOADING:
        final = await save(ports, final, final.declare_length(length).to(Status.PROCESSING, now))
    try:
        storage = await ports.store.join(final, parts)
    except BytesMissing:
        return await _fail(ports, final, "the bytes of a partial upload are gone")
    except StoreError:
        # Full or out of reach: it stays as it is, and is tried again by the next HEAD or start.
        log.exception("joining upload %s failed; it will be tried again", final.id)
        return None
    final = await save(ports, final, joined(ports, final, length, storage))
    ports.count_complete(final)
    return final


def joined(ports: Ports, final: Upload, length: int, storage: Mapping[str, object]) -> Upload:
    """The final upload with the bytes of its parts, complete."""
    now = ports.clock()
    after = completed(ports, final.declare_length(length).advance(length, now, storage))
    return after.until(ports.expiry(after, now))


async def _fail(ports: Ports, final: Upload, reason: str) -> Upload:
    now = ports.clock()
    failed = final.to(Status.FAILED, now, reason)
    return await save(ports, final, failed.until(ports.expiry(failed, now)))
