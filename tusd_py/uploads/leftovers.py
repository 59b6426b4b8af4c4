"""Removes bytes that no record names: a creation that was killed before its record was saved leaves them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from tusd_py.contracts.store import StoreError
from tusd_py.uploads.failure_streak import FailureStreak
from tusd_py.uploads.ports import Ports

log = logging.getLogger(__name__)


async def remove_leftovers(ports: Ports, before: datetime) -> int:
    """Remove what is stored under ids that no record has and no lock holds, unchanged since ``before``.

    Returns for how many ids. Tombstones are records too. Raises ``StoreError`` or ``RecordsError``.
    """
    removed = 0
    failures = FailureStreak()
    async for ids in ports.store.find_old(before):
        for upload_id in await _unrecorded(ports, ids):
            removed += await _remove(ports, upload_id, failures)
    if removed:
        log.warning("removed stored bytes that belong to no upload", extra={"count": removed})
    return removed


async def _unrecorded(ports: Ports, ids: Sequence[str]) -> list[str]:
    found = await ports.records.find_all(ids)
    return [upload_id for upload_id, upload in zip(ids, found, strict=True) if upload is None]


async def _remove(ports: Ports, upload_id: str, failures: FailureStreak) -> bool:
    # A creation holds the lock of its upload from its first byte to its record.
    lock = await ports.locker.try_acquire(upload_id)
    if lock is None:
        return False
    try:
        if await ports.records.find(upload_id) is not None:
            return False
        await ports.store.purge(upload_id)
        failures.end()
    except StoreError as failure:
        log.warning("could not remove the bytes of %s, retrying later: %s", upload_id, failure)
        failures.add(str(failure))
        return False
    finally:
        await lock.release()
    return True
