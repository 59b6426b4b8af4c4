"""Removes objects that no record names, also of uploads that have a record: the rest of abandoned attempts.

A server that was killed or paused leaves them: the multipart upload of a request that another server has repeated, a
tail whose deletion failed, the object of a completion that was not recorded.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from tusd_py.contracts.object_list import ObjectList, StoredObject
from tusd_py.contracts.store import StoreError
from tusd_py.model.upload import Upload
from tusd_py.uploads.failure_streak import FailureStreak
from tusd_py.uploads.locking import fence
from tusd_py.uploads.ports import Ports

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Abandoned:
    """An object that no record names, and whether it was removed."""

    stored: StoredObject
    is_removed: bool


async def find_abandoned(
    ports: Ports, objects: ObjectList, before: datetime, *, removes: bool
) -> AsyncIterator[Abandoned]:
    """Every object made before ``before`` that no record names and no running request may be about to name.

    With ``removes`` each is removed; one that cannot be is reported as it is. Raises ``RecordsError``, or
    ``StoreError`` if nothing can be listed or removed any more.
    """
    failures = FailureStreak()
    async with aclosing(objects.list_objects(before)) as batches:  # type: ignore[type-var]  # stores use generators
        async for batch in batches:
            for stored in await _unnamed(ports, objects, batch):
                found = await _judge(ports, objects, stored, removes)
                if isinstance(found, StoreError):
                    yield Abandoned(stored, False)
                    failures.add(str(found))
                elif found is not None:
                    yield found
                    failures.end()


async def remove_abandoned(ports: Ports, before: datetime) -> int:
    """Remove what ``find_abandoned`` finds; return how many. Does nothing for stores without such objects."""
    if not isinstance(ports.store, ObjectList):
        return 0
    removed = 0
    async for found in find_abandoned(ports, ports.store, before, removes=True):
        removed += found.is_removed
    if removed:
        log.info("removed objects that no record names", extra={"count": removed})
    return removed


async def _unnamed(ports: Ports, objects: ObjectList, batch: Sequence[StoredObject]) -> list[StoredObject]:
    ids = list({stored.upload_id for stored in batch})
    records = dict(zip(ids, await ports.records.find_all(ids), strict=True))
    return [stored for stored in batch if not _is_named(objects, records[stored.upload_id], stored)]


def _is_named(objects: ObjectList, upload: Upload | None, stored: StoredObject) -> bool:
    return upload is not None and objects.is_named(upload, stored)


async def _judge(
    ports: Ports, objects: ObjectList, stored: StoredObject, removes: bool
) -> Abandoned | StoreError | None:
    """Look again under the lock: a request that holds it may be about to name the object in the record.

    Returns the failure if it could not be removed.
    """
    lock = await ports.locker.try_acquire(stored.upload_id)
    if lock is None:
        return None
    try:
        if lock.was_abandoned:
            await fence(ports, stored.upload_id)
        if _is_named(objects, await ports.records.find(stored.upload_id), stored):
            return None
        if not removes:
            return Abandoned(stored, False)
        await objects.remove_object(stored)
    except StoreError as failure:
        log.warning("could not remove the object %s, retrying later: %s", stored.key, failure)
        return failure
    finally:
        await lock.release()
    return Abandoned(stored, True)
