"""Reads the description that tusd keeps beside the bytes of each upload: ``<id>.info``, one JSON object."""

from __future__ import annotations

import json
from datetime import datetime
from urllib.parse import quote

from tusd_py.model.frozen import frozen
from tusd_py.model.ids import known_id
from tusd_py.model.upload import Kind, Upload
from tusd_py.protocol.errors import InvalidMetadata
from tusd_py.protocol.metadata import format_metadata

#: An object of tusd with 2 MiB of metadata is beyond what its own limits let pass.
INFO_BYTES_MAX = 4 * 1024 * 1024
# tusd writes ids into URLs as they are; RFC 3986, 3.3, allows these in a path.
_UNQUOTED = "/+~!$'()*,;=:@"


class InfoInvalid(Exception):
    """The upload cannot be taken over; the text is the reason, for the operator."""


@frozen()
class TusdInfo:
    """The description of one upload. ``length`` is ``None`` while it is deferred; ``path`` is that of its bytes.

    ``tusd_id`` is what its URL ends with; ``id`` differs from it if that is not a valid id here. ``parts`` are ids of
    tusd. ``path`` is as tusd wrote it, empty in files of old versions and in buckets.
    """

    id: str
    tusd_id: str
    length: int | None
    metadata_header: str | None
    kind: Kind
    parts: tuple[str, ...]
    path: str

    def to_upload(self, stored_bytes: int, written_at: datetime, *, base_path: str, owner: str) -> Upload:
        """The upload with ``stored_bytes`` bytes, complete if these are all. Raises ``InfoInvalid``.

        A complete one is ready: its hooks and steps were the business of tusd.
        """
        if self.length is not None and stored_bytes > self.length:
            raise InfoInvalid(f"{stored_bytes} bytes are stored, more than its length of {self.length}")
        if self.kind is Kind.FINAL and stored_bytes != self.length:
            raise InfoInvalid("it is a final upload that was not assembled: delete it, and concatenate its parts again")
        upload = Upload(
            id=self.id,
            kind=self.kind,
            length=self.length,
            offset=stored_bytes,
            metadata_header=self.metadata_header,
            concat_header=self._concat_header(base_path),
            parts=tuple(known_id(part) or part for part in self.parts),
            owner=owner,
            created_at=written_at,
            updated_at=written_at,
        )
        if stored_bytes != self.length:
            return upload
        return upload.complete(written_at).hand_to_workers((), written_at)

    def _concat_header(self, base_path: str) -> str | None:
        if self.kind is Kind.FINAL:
            return "final;" + " ".join(f"{base_path.rstrip('/')}/{quote(part, safe=_UNQUOTED)}" for part in self.parts)
        return "partial" if self.kind is Kind.PARTIAL else None


def parse_info(text: bytes) -> TusdInfo:
    """The upload that an ``.info`` describes (tusd 1 and 2, ``handler.FileInfo``). Raises ``InfoInvalid``."""
    try:
        info = json.loads(text)
    except (ValueError, RecursionError):
        raise InfoInvalid("its .info file is not JSON") from None
    if not isinstance(info, dict):
        raise InfoInvalid("its .info file is not a JSON object")
    tusd_id, size = info.get("ID"), info.get("Size", 0)
    upload_id = known_id(tusd_id) if isinstance(tusd_id, str) else None
    if upload_id is None or not isinstance(tusd_id, str):
        raise InfoInvalid(f"its id {str(tusd_id)[:100]!r} is not one that this server can have in a URL")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size < 2**63:
        raise InfoInvalid("its Size is not a number of bytes")
    storage = info.get("Storage") or {}
    path = storage.get("Path", "") if isinstance(storage, dict) else ""
    kind = (
        Kind.FINAL if info.get("IsFinal") is True else Kind.PARTIAL if info.get("IsPartial") is True else Kind.REGULAR
    )
    return TusdInfo(
        id=upload_id,
        tusd_id=tusd_id,
        length=None if info.get("SizeIsDeferred") is True else size,
        metadata_header=_metadata_header(info.get("MetaData")),
        kind=kind,
        parts=_parts(info.get("PartialUploads")) if kind is Kind.FINAL else (),
        path=path if isinstance(path, str) else "",
    )


def _metadata_header(metadata: object) -> str | None:
    if not metadata:
        return None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InfoInvalid("its MetaData is not an object of texts")
    try:
        return format_metadata({key: value.encode("utf-8", "surrogateescape") for key, value in metadata.items()})
    except (InvalidMetadata, UnicodeEncodeError):
        raise InfoInvalid("its MetaData has a key or a value that no header can have") from None


def _parts(found: object) -> tuple[str, ...]:
    if not isinstance(found, list) or not found or not all(isinstance(each, str) and known_id(each) for each in found):
        raise InfoInvalid("its PartialUploads are not a list of ids")
    return tuple(found)
