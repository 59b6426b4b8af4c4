"""Compares the checksums in a record with those that S3 keeps, or with the bytes while they are read."""

from __future__ import annotations

from dataclasses import dataclass

from tusd_py.storage.s3 import checksums
from tusd_py.storage.s3.client import Refused, S3Client
from tusd_py.storage.s3.state import S3State

_MODE = {"ChecksumMode": "ENABLED"}


@dataclass(slots=True)
class RunningCrc:
    """See ``RunningChecksum``."""

    recorded: int
    _crc: int = 0

    def update(self, piece: bytes) -> None:
        self._crc = checksums.crc_after(self._crc, piece)

    def is_right(self) -> bool:
        return self._crc == self.recorded


def recorded_crc(state: S3State) -> int | None:
    """The CRC of all bytes that can be read: of the object, or of the tails of an upload without parts."""
    if state.is_empty:
        return state.crc
    if state.parts:
        return None
    return checksums.combined((tail.crc, tail.size) for tail in state.tails)


async def compare(client: S3Client, state: S3State) -> bool | None:
    """See ``ChecksumStore.compare_checksums``."""
    if state.is_empty:
        return await _compare_object(client, state.key, state.crc) if state.key else None
    results = [await _compare_object(client, tail.key, tail.crc) for tail in state.tails]
    if state.parts:
        results += await _compare_parts(client, state)
    if False in results:
        return False
    return None if None in results else True


async def _compare_object(client: S3Client, key: str, crc: int | None) -> bool | None:
    if crc is None:
        return None
    try:
        found = await client.call("head_object", Key=key, **_MODE)
    except Refused:
        # It does not know the argument.
        return None
    return _agrees(crc, found.get(checksums.FIELD))


async def _compare_parts(client: S3Client, state: S3State) -> list[bool | None]:
    found: dict[int, str | None] = {}
    async for page in client.pages("list_parts", Key=state.key, UploadId=state.multipart_id):
        found |= {part["PartNumber"]: part.get(checksums.FIELD) for part in page.get("Parts", ())}
    return [_agrees(part.crc, found.get(number)) for number, part in enumerate(state.parts, 1)]


def _agrees(crc: int | None, field: str | None) -> bool | None:
    stored = checksums.from_field(field)
    return None if crc is None or stored is None else crc == stored
