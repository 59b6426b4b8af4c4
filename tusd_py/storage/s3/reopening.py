"""Continues a complete object: S3 copies its parts to a new multipart upload, and the rest becomes a tail.

An earlier request has completed the object, but its record does not say so: the process may have been killed between
the two, or the request turned out to be wrong at its end.
"""

from __future__ import annotations

from tusd_py.contracts.store import BytesMissing
from tusd_py.model.upload import Upload
from tusd_py.storage.s3 import multipart
from tusd_py.storage.s3.client import ObjectMissing, RangeMissing, Refused
from tusd_py.storage.s3.resources import S3Resources
from tusd_py.storage.s3.state import S3State, StoredPart, Tail


async def reopen(resources: S3Resources, upload: Upload, state: S3State, offset: int) -> S3State:
    """The first ``offset`` bytes of the object ``state.key`` as parts and a tail with new names.

    The object itself is not changed. Raises ``BytesMissing``.
    """
    client = resources.client
    if (await client.object_size(state.key) or 0) < offset:
        raise BytesMissing("the object of this upload has fewer bytes than were stored before")
    new = S3State(state.layout)
    whole = new.layout.index_at(offset)
    if whole:
        attributes = resources.attributes.of_object(upload)
        new = await multipart.create(client, new, resources.keys.new_attempt(upload), attributes, has_checksums=False)
    for index in range(whole):
        start = new.layout.start(index)
        crc = state.parts[index].crc if index < len(state.parts) else None
        stop = start + new.layout.size(index)
        new = new.with_part(await _copy_part(resources, new, index + 1, state.key, start, stop, crc))
    if new.offset < offset:
        new = new.with_tail(await _copy_tail(resources, upload, state.key, new.offset, offset))
    return new


async def _copy_part(
    resources: S3Resources, state: S3State, number: int, source: str, start: int, stop: int, crc: int | None
) -> StoredPart:
    """Copy a part within S3, or through this process where S3 cannot."""
    if resources.client.copies_parts:
        try:
            return await multipart.copy_part(resources.client, state, number, source, start, stop, crc)
        except Refused:
            resources.client.copies_parts = False
    await resources.budget.acquire(stop - start)
    try:
        body = await _read(resources, source, start, stop)
        return await multipart.send_part(resources.client, state, number, [body])
    finally:
        resources.budget.release(stop - start)


async def _copy_tail(resources: S3Resources, upload: Upload, source: str, start: int, stop: int) -> Tail:
    count = stop - start
    await resources.budget.acquire(count)
    try:
        return await put_tail(resources, upload, start, await _read(resources, source, start, stop))
    finally:
        resources.budget.release(count)


async def _read(resources: S3Resources, source: str, start: int, stop: int) -> bytes:
    try:
        return await resources.client.read_range(source, start, stop)
    except (ObjectMissing, RangeMissing):
        raise BytesMissing("the object of this upload has fewer bytes than were stored before") from None


async def put_tail(resources: S3Resources, upload: Upload, offset: int, body: bytes) -> Tail:
    """Store bytes that begin at ``offset`` as a tail with a new name."""
    key = resources.keys.new_tail(upload.id, offset)
    return Tail(
        key, len(body), await multipart.put_object(resources.client, key, [body], resources.attributes.of_bytes())
    )
