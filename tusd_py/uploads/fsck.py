"""Compares the records with the stored bytes of any store, and repairs what can be repaired without a loss."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum

from tusd_py.contracts.store import StoreError
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.uploads.commit import update
from tusd_py.uploads.compare_checksums import ChecksumComparison, Verdict
from tusd_py.uploads.failure_streak import FailureStreak
from tusd_py.uploads.ports import Ports

log = logging.getLogger(__name__)

_PAGE = 500
#: Uploads that are examined at the same time: a store behind a network takes milliseconds for each.
_TOGETHER = 16
#: Orphans that are remembered: more would be named again for each of their objects.
_SEEN_MAX = 100_000
#: An upload of another status has no bytes, or another program has them.
_WITH_BYTES = frozenset({Status.UPLOADING, Status.PROCESSING, Status.READY})
_MISMATCH_ADVICE = "its bytes have changed: restore them from a backup, or delete it with tusd-py uploads delete"
_UNFINISHED_ADVICE = "bytes that were stored have changed: delete it with tusd-py uploads delete, and upload it again"


class Disagreement(StrEnum):
    """How the stored bytes of an upload differ from its record."""

    MISSING = "missing"  # none are stored, though some are recorded
    SHORT = "short"  # fewer are stored than recorded
    LONG = "long"  # more are stored than recorded
    ORPHANED = "orphaned"  # stored under an id that no record has
    MISMATCH = "mismatch"  # as many as recorded, but other ones
    UNREADABLE = "unreadable"  # the store cannot say


@dataclass(frozen=True, slots=True)
class Finding:
    """One upload whose record and bytes do not agree, and what was or can be done."""

    upload_id: str
    problem: Disagreement
    recorded: int
    stored: int
    is_repaired: bool
    advice: str
    is_harmless: bool = False  # no problem: it needs no repair


@dataclass(slots=True)
class Progress:
    """How far a run has come."""

    examined: int = 0  # uploads


async def check(
    ports: Ports, *, repair: bool, comparison: ChecksumComparison | None = None, progress: Progress | None = None
) -> AsyncIterator[Finding]:
    """Every upload whose record and bytes do not agree. Uploads that a request changes just now are left out.

    With ``repair`` an unfinished upload goes back to the bytes that are stored, so that its client sends the rest
    again, and orphaned bytes are removed. A complete upload without its bytes cannot be repaired. With
    ``comparison`` the bytes are compared with recorded checksums too; other bytes are only reported. ``progress``
    counts. Raises ``RecordsError``, or ``StoreError`` if orphans cannot be listed or the store is down.
    """
    progress = progress or Progress()
    failures = FailureStreak()
    after_id = ""
    while uploads := await ports.records.page(after_id, _PAGE):
        after_id = uploads[-1].id
        stored = [upload for upload in uploads if _has_bytes(upload)]
        progress.examined += len(uploads) - len(stored)
        for start in range(0, len(stored), _TOGETHER):
            together = stored[start : start + _TOGETHER]
            for finding in await _examine_together(ports, together, repair, comparison):
                if finding is None or finding.problem is not Disagreement.UNREADABLE:
                    failures.end()
                if finding is not None:
                    yield finding
                    if finding.problem is Disagreement.UNREADABLE:
                        failures.add(finding.advice)
            progress.examined += len(together)
    seen: set[str] = set()  # an object, its tails and multipart uploads are listed one after the other
    async with aclosing(ports.store.find_old(ports.clock())) as batches:  # type: ignore[type-var]  # stores use generators
        async for ids in batches:
            new = [upload_id for upload_id in dict.fromkeys(ids) if upload_id not in seen]
            for upload_id in await _without_record(ports, new):
                if len(seen) < _SEEN_MAX:
                    seen.add(upload_id)
                if (orphan := await _examine_orphan(ports, upload_id, repair)) is not None:
                    yield orphan


def _has_bytes(upload: Upload) -> bool:
    """Whether the store has what the record says: a final upload that is not concatenated yet has nothing."""
    return upload.kind is not Kind.FINAL or upload.status is Status.READY


async def _examine_together(
    ports: Ports, uploads: Collection[Upload], repair: bool, comparison: ChecksumComparison | None
) -> list[Finding | None]:
    tasks = [asyncio.ensure_future(_examine(ports, upload, repair, comparison)) for upload in uploads]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        # After the first failure nothing may go on with ports that the caller closes.
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _examine(ports: Ports, upload: Upload, repair: bool, comparison: ChecksumComparison | None) -> Finding | None:
    try:
        if await ports.store.size(upload) == upload.offset:
            if comparison is None or upload.status not in _WITH_BYTES:
                return None
            verdict = await comparison.compare(ports, upload)
            finding = await _mismatch(ports, upload, comparison) if verdict is Verdict.WRONG else None
            if finding is not None or verdict is not Verdict.WRONG:
                comparison.counts[verdict] += 1
            return finding
        return await _examine_locked(ports, upload, repair)
    except StoreError as error:
        return Finding(upload.id, Disagreement.UNREADABLE, upload.offset, 0, False, str(error))


async def _examine_locked(ports: Ports, upload: Upload, repair: bool) -> Finding | None:
    """Look again under the lock: a running request writes before it saves."""
    lock = await ports.locker.try_acquire(upload.id)
    if lock is None:
        return None
    try:
        found = await ports.records.find(upload.id)
        if found is None or found.status not in _WITH_BYTES:
            return None
        stored = await ports.store.size(found)
        if stored == found.offset:
            return None
        return await _judge(ports, found, stored, repair)
    finally:
        await lock.release()


async def _mismatch(ports: Ports, upload: Upload, comparison: ChecksumComparison) -> Finding | None:
    """The finding, unless the upload was changed or deleted meanwhile. It is never repaired."""
    if upload.is_complete:
        # Nothing writes to it any more. No lock: reading may take hours, and a deletion must not wait.
        found = await ports.records.find(upload.id)
        if found is None or found.status not in _WITH_BYTES:
            return None
        return _finding(upload, Disagreement.MISMATCH, upload.offset, _MISMATCH_ADVICE)
    lock = await ports.locker.try_acquire(upload.id)
    if lock is None:
        return None
    try:
        found = await ports.records.find(upload.id)
        if found is None or found.status not in _WITH_BYTES or await ports.store.size(found) != found.offset:
            return None
        if await comparison.compare(ports, found) is not Verdict.WRONG:
            return None
        return _finding(found, Disagreement.MISMATCH, found.offset, _UNFINISHED_ADVICE)
    finally:
        await lock.release()


async def _judge(ports: Ports, upload: Upload, stored: int, repair: bool) -> Finding:
    if stored > upload.offset:
        if upload.is_complete:
            return _finding(upload, Disagreement.LONG, stored, "another program has changed it: restore a backup")
        advice = "harmless: its client overwrites them"
        return Finding(upload.id, Disagreement.LONG, upload.offset, stored, False, advice, is_harmless=True)
    problem = Disagreement.SHORT if stored else Disagreement.MISSING
    if upload.is_complete:
        advice = "restore its bytes from a backup, or delete it with tusd-py uploads delete"
        return _finding(upload, problem, stored, advice)
    if not repair:
        return _finding(upload, problem, stored, "--repair sets its offset back to the stored bytes")
    await update(ports, upload, upload.truncate_to(stored, ports.clock()))
    return _finding(upload, problem, stored, "its client sends the rest again", is_repaired=True)


def _finding(upload: Upload, problem: Disagreement, stored: int, advice: str, *, is_repaired: bool = False) -> Finding:
    return Finding(upload.id, problem, upload.offset, stored, is_repaired, advice)


async def _without_record(ports: Ports, ids: Sequence[str]) -> list[str]:
    found = await ports.records.find_all(ids)
    return [upload_id for upload_id, upload in zip(ids, found, strict=True) if upload is None]


async def _examine_orphan(ports: Ports, upload_id: str, repair: bool) -> Finding | None:
    # A creation holds the lock of its upload from its first byte to its record.
    lock = await ports.locker.try_acquire(upload_id)
    if lock is None:
        return None
    try:
        if await ports.records.find(upload_id) is not None:
            return None
        if not repair:
            return Finding(upload_id, Disagreement.ORPHANED, 0, 0, False, "--repair removes it")
        await ports.store.purge(upload_id)
    except StoreError as error:
        return Finding(upload_id, Disagreement.ORPHANED, 0, 0, False, f"it could not be removed: {error}")
    finally:
        await lock.release()
    return Finding(upload_id, Disagreement.ORPHANED, 0, 0, True, "removed")
