"""Adopt an upload of another server: store its bytes, then record it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tusd_py.contracts.records import RecordExists
from tusd_py.contracts.store import Sink
from tusd_py.model.upload import Upload
from tusd_py.uploads.ports import Ports


class AlreadyRecorded(Exception):
    """An upload with this id is recorded here; it may have ended."""


class ContentChanged(Exception):
    """There were fewer or more bytes than ``offset``; nothing was recorded."""


async def adopt(ports: Ports, upload: Upload, content: AsyncIterator[bytes]) -> Upload:
    """Store ``content``, the first ``upload.offset`` bytes of ``upload``, durably, then record it.

    Nothing is announced and no step runs: the server that received the upload has done that. It expires as if it had
    changed now. Its bytes are charged to no quota.

    Raises ``AlreadyRecorded``, ``ContentChanged``, and what store and records raise; no record exists then. After a
    crash in between, bytes without a record are left: a repeated call overwrites them, or maintenance removes them.
    """
    if await ports.records.find(upload.id) is not None:
        raise AlreadyRecorded
    empty = _empty(upload)
    empty = empty.with_storage(await ports.store.create(empty))
    sink = ports.store.open(empty)
    try:
        if not await _write(sink, content, upload.offset):
            raise ContentChanged
        await sink.flush(durable=True)
        recorded = upload.with_storage(sink.state).expiring(ports.policy.expiry(upload, ports.clock()))
        try:
            await ports.records.insert(recorded)
        except RecordExists:
            raise AlreadyRecorded from None
        await sink.committed()
    finally:
        await sink.close()
    return recorded


async def _write(sink: Sink, content: AsyncIterator[bytes], count: int) -> bool:
    """Write ``content`` to ``sink``. Return whether it has exactly ``count`` bytes."""
    left = count
    async for piece in content:
        left -= len(piece)
        if left < 0:
            break
        await sink.write([piece])
    return not left


def _empty(upload: Upload) -> Upload:
    return Upload(
        id=upload.id,
        kind=upload.kind,
        length=upload.length,
        metadata_header=upload.metadata_header,
        owner=upload.owner,
        created_at=upload.created_at,
        updated_at=upload.updated_at,
        storage=upload.storage,
    )
