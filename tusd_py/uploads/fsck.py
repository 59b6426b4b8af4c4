"""Compares the records with the stored bytes of any store, and repairs what can be repaired without a loss."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum

from tusd_py.contracts.store import StoreError
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.uploads.commit import update
from tusd_py.uploads.ports import Ports

log = logging.getLogger(__name__)

_PAGE = 500
#: Uploads that are examined at the same time: a store behind a network takes milliseconds for each.
_TOGETHER = 16


class Disagreement(StrEnum):
    """How the stored bytes of an upload differ from its record."""

    MISSING = "missing"  # none are stored, though some are recorded
    SHORT = "short"  # fewer are stored than recorded
    LONG = "long"  # more are stored than recorded
    ORPHANED = "orphaned"  # stored under an id that no record has
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


async def check(ports: Ports, *, repair: bool) -> AsyncIterator[Finding]:
    """Every upload whose record and bytes do not agree. Uploads that a request changes just now are left out.

    With ``repair`` an unfinished upload goes back to the bytes that are stored, so that its client sends the rest
    again, and orphaned bytes are removed. A complete upload without its bytes cannot be repaired. Raises
    ``RecordsError`` or ``StoreError``.
    """
    after_id = ""
    while uploads := await ports.records.page(after_id, _PAGE):
        after_id = uploads[-1].id
        stored = [upload for upload in uploads if _has_bytes(upload)]
        for start in range(0, len(stored), _TOGETHER):
            for finding in await _examine_together(ports, stored[start : start + _TOGETHER], repair):
                yield finding
    async with aclosing(ports.store.find_old(ports.clock())) as batches:  # type: ignore[type-var]  # stores use generators
        async for ids in batches:
            for upload_id in await _without_record(ports, ids):
                if (orphan := await _examine_orphan(ports, upload_id, repair)) is not None:
                    yield orphan


def _has_bytes(upload: Upload) -> bool:
    """Whether the store has what the record says: a final upload that is not concatenated yet has nothing."""
    return upload.kind is not Kind.FINAL or upload.status is Status.READY


async def _examine_together(ports: Ports, uploads: Collection[Upload], repair: bool) -> list[Finding]:
    if not uploads:
        return []
    tasks = [asyncio.ensure_future(_examine(ports, upload, repair)) for upload in uploads]
    try:
        return [finding for finding in await asyncio.gather(*tasks) if finding is not None]
    finally:
        # After the first failure nothing may go on with ports that the caller closes.
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _examine(ports: Ports, upload: Upload, repair: bool) -> Finding | None:
    try:
        if await ports.store.size(upload) == upload.offset:
            return None
    except StoreError as error:
        return Finding(upload.id, Disagreement.UNREADABLE, upload.offset, 0, False, str(error))
    # Again under the lock: a running request writes before it saves.
    lock = await ports.locker.try_acquire(upload.id)
    if lock is None:
        return None
    try:
        found = await ports.records.find(upload.id)
        if found is None or found.status not in (Status.UPLOADING, Status.PROCESSING, Status.READY):
            return None
        stored = await ports.store.size(found)
        if stored == found.offset:
            return None
        return await _judge(ports, found, stored, repair)
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


async def _without_record(ports: Ports, ids: Collection[str]) -> list[str]:
    unique = list(dict.fromkeys(ids))
    found = await ports.records.find_all(unique)
    return [upload_id for upload_id, upload in zip(unique, found, strict=True) if upload is None]


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
    finally:
        await lock.release()
    return Finding(upload_id, Disagreement.ORPHANED, 0, 0, True, "removed")
