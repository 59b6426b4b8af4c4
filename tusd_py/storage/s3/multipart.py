"""The requests by which objects come to be: single ones, and multipart uploads with their parts.

Where S3 verifies checksums, each request carries the CRC of its bytes, and a completion that of the whole object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tusd_py.contracts.store import StoreUnavailable
from tusd_py.storage.s3 import checksums
from tusd_py.storage.s3.client import MultipartMissing, ObjectMissing, Refused, S3Client
from tusd_py.storage.s3.state import S3State, StoredPart

#: Some stores keep parts that were being sent while the upload was aborted: it is repeated until none is left.
_ABORTS_MAX = 5
_ABORT_PAUSE_SECONDS = 0.2
#: The library copies bodies and writes them in small pieces; the requests of smaller ones cost it less.
_LARGE_BYTES_MIN = 256 * 1024
#: Smaller pieces are joined: each is written to the connection by itself.
_PIECE_BYTES_MIN = 32 * 1024


async def put_object(
    client: S3Client, key: str, pieces: Sequence[bytes | memoryview], attributes: Mapping[str, Any]
) -> int:
    """Store a whole object; return its CRC. The first one finds out whether S3 verifies checksums."""
    crc = checksums.crc_of_pieces(pieces)
    if sum(map(len, pieces)) >= _LARGE_BYTES_MIN and client.has_checksums is not None:
        checksum = {checksums.FIELD: checksums.to_field(crc)} if client.has_checksums else {}
        await client.send_object(key, _joined_if_small(pieces), **checksum, **attributes)
        return crc
    body = b"".join(pieces)
    if client.has_checksums is not False:
        checksum = {checksums.FIELD: checksums.to_field(crc)}
        try:
            answer = await client.call("put_object", Key=key, Body=body, **checksum, **attributes)
            if client.has_checksums is None:
                client.has_checksums = bool(answer.get(checksums.FIELD))
            return crc
        except Refused:
            if client.has_checksums:
                raise
            client.has_checksums = False
    await client.call("put_object", Key=key, Body=body, **attributes)
    return crc


async def create(
    client: S3Client, state: S3State, key: str, attributes: Mapping[str, Any], *, has_checksums: bool = True
) -> S3State:
    """``state`` with a new multipart upload of ``key``. S3 verifies its bytes if all parts will have checksums."""
    if has_checksums and client.has_checksums is not False:
        checksum = {"ChecksumAlgorithm": checksums.ALGORITHM, "ChecksumType": "FULL_OBJECT"}
        try:
            made = await client.call("create_multipart_upload", Key=key, **checksum, **attributes)
            verifies = made.get("ChecksumAlgorithm") == checksums.ALGORITHM
            return replace(state, key=key, multipart_id=made["UploadId"], has_checksums=verifies)
        except Refused:
            client.has_checksums = False
    made = await client.call("create_multipart_upload", Key=key, **attributes)
    return replace(state, key=key, multipart_id=made["UploadId"], has_checksums=False)


async def send_part(
    client: S3Client, state: S3State, number: int, pieces: Sequence[bytes | memoryview], crc: int | None = None
) -> StoredPart:
    """Send the part ``number``, counted from 1, which consists of ``pieces``. ``crc`` is theirs if it is known."""
    if crc is None:
        crc = checksums.crc_of_pieces(pieces)
    checksum = {checksums.FIELD: checksums.to_field(crc)} if state.has_checksums else {}
    etag = await client.send_part(state.key, state.multipart_id, number, _joined_if_small(pieces), checksum)
    return StoredPart(_normal(etag), crc)


def _joined_if_small(pieces: Sequence[bytes | memoryview]) -> Sequence[bytes | memoryview]:
    return [b"".join(pieces)] if len(pieces) * _PIECE_BYTES_MIN > sum(map(len, pieces)) else pieces


async def copy_part(
    client: S3Client, state: S3State, number: int, source: str, start: int, stop: int, crc: int | None = None
) -> StoredPart:
    """Make the part ``number`` of a range of the object ``source``, within S3. ``crc`` is that of the range."""
    copied = await client.call(
        "upload_part_copy",
        Key=state.key,
        UploadId=state.multipart_id,
        PartNumber=number,
        CopySource={"Bucket": client.bucket, "Key": source},
        CopySourceRange=f"bytes={start}-{stop - 1}",
    )
    result = copied["CopyPartResult"]
    return StoredPart(
        _normal(result["ETag"]), checksums.from_field(result.get(checksums.FIELD)) if crc is None else crc
    )


async def complete(client: S3Client, state: S3State, parts: Sequence[StoredPart], total: int, crc: int | None) -> None:
    """Make the parts the object ``state.key`` of ``total`` bytes. Does nothing if that was done before.

    Raises ``PartsChanged`` if S3 has not exactly these parts.
    """
    named: list[dict[str, Any]] = [{"PartNumber": number, "ETag": part.etag} for number, part in enumerate(parts, 1)]
    more: dict[str, Any] = {}
    if state.has_checksums and crc is not None:
        for each, part in zip(named, parts, strict=True):
            each[checksums.FIELD] = checksums.to_field(part.crc or 0)
        more = {checksums.FIELD: checksums.to_field(crc), "ChecksumType": "FULL_OBJECT"}
    try:
        await client.call(
            "complete_multipart_upload",
            Key=state.key,
            UploadId=state.multipart_id,
            MultipartUpload={"Parts": named},
            **more,
        )
    except MultipartMissing:
        # The answer to an earlier attempt was lost. The key belongs to this multipart upload alone.
        if not await _is_completed(client, state, len(parts), total, crc):
            raise


async def _is_completed(client: S3Client, state: S3State, parts: int, total: int, crc: int | None) -> bool:
    try:
        found = await client.call("head_object", Key=state.key, **client.checksum_mode)
    except ObjectMissing:
        return False
    _, dash, count = str(found["ETag"]).strip('"').partition("-")
    stored = checksums.from_field(found.get(checksums.FIELD))
    return (
        int(found["ContentLength"]) == total
        and (not dash or count == str(parts))
        and (crc is None or stored is None or stored == crc)
    )


async def exists(client: S3Client, state: S3State) -> bool:
    """Whether the multipart upload is neither completed nor aborted."""
    try:
        await client.call("list_parts", Key=state.key, UploadId=state.multipart_id, MaxParts=1)
    except MultipartMissing:
        return False
    return True


async def part_etags(client: S3Client, key: str, multipart_id: str) -> dict[int, str]:
    """The ETags of the parts that S3 has, by number. Raises ``MultipartMissing``."""
    found: dict[int, str] = {}
    async for page in client.pages("list_parts", Key=key, UploadId=multipart_id):
        found |= {part["PartNumber"]: _normal(part["ETag"]) for part in page.get("Parts", ())}
    return found


async def abort_until_gone(client: S3Client, key: str, multipart_id: str) -> None:
    """End a multipart upload, and wait until S3 lists no part of it: parts in transit may arrive after an abort.

    Raises ``StoreUnavailable`` if some are left.
    """
    for number in range(_ABORTS_MAX):
        if number:
            await asyncio.sleep(_ABORT_PAUSE_SECONDS * number)
        try:
            await client.call("abort_multipart_upload", Key=key, UploadId=multipart_id)
            if not await part_etags(client, key, multipart_id):
                return
        except (MultipartMissing, ObjectMissing):
            return
    raise StoreUnavailable("S3 still has parts of a multipart upload that was aborted")


def _normal(etag: str) -> str:
    """With the quotes that some stores leave out."""
    bare = etag.strip('"')
    return f'"{bare}"'
