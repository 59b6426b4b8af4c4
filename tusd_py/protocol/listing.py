"""Filters and orders of lists of uploads. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from tusd_py.model.frozen import frozen
from tusd_py.model.steps import VALIDATION
from tusd_py.model.upload import HistoryEntry, Status
from tusd_py.protocol.errors import InvalidMetadata
from tusd_py.protocol.file_names import shown_name
from tusd_py.protocol.headers import parse_base64
from tusd_py.protocol.metadata import read_metadata

#: Where a page ends: the time in microseconds since 1970, or the key of the name, and the id of its last upload.
PageKey = tuple[int | str, str]

_TYPE_CHARACTERS_MAX = 127
_LAST_CHARACTER = "\U0010ffff"
_ALL = frozenset(Status)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: After every time.
FAR = 2**63 - 1


class ListedUpload(NamedTuple):
    """The fields of an upload by which lists select it. A tuple: a page may examine thousands of them."""

    id: str
    status: str
    owner: str
    created_at: int  # microseconds since 1970
    name_key: str
    declared_type: str
    detected_type: str
    grant: str


@frozen(kw_only=True)
class UploadFilter:
    """Which uploads a list has. Times are in microseconds since 1970.

    ``owner`` is ``None`` for the uploads of all owners, and empty for those without one. The other texts select nothing
    if they are empty.
    """

    statuses: frozenset[Status] = _ALL
    owner: str | None = None
    created_from: int = 0
    created_before: int = FAR
    name_prefix: str = ""  # a ``name_key``
    declared_type: str = ""
    detected_type: str = ""
    grant: str = ""  # the link or the access code with which they were made

    @property
    def is_by_name(self) -> bool:
        """Whether the list is ordered by name; otherwise the newest upload stands first."""
        return bool(self.name_prefix) and self.owner is None

    def matches(self, upload: ListedUpload) -> bool:
        return (
            self.declared_type in ("", upload.declared_type)
            and self.detected_type in ("", upload.detected_type)
            and self.grant in ("", upload.grant)
            and upload.status in self.statuses
            and (self.owner is None or self.owner == upload.owner)
            and self.created_from <= upload.created_at < self.created_before
            and upload.name_key.startswith(self.name_prefix)
        )


def microseconds(at: datetime | None, otherwise: int) -> int:
    """The instant as lists compare it, at or after 1970; ``otherwise`` if there is none."""
    return otherwise if at is None else max((at - _EPOCH) // timedelta(microseconds=1), 0)


def name_key(name: str) -> str:
    """The name of a file as lists compare it: upper and lower case are the same."""
    return name.casefold()


def declared_fields(metadata_header: str | None) -> tuple[str, str]:
    """The ``name_key`` of the file and the media type that the client has declared; empty if it has not."""
    if not metadata_header:
        return "", ""
    try:
        metadata = read_metadata(metadata_header)
    except InvalidMetadata:
        metadata = _readable_values(metadata_header)
    media_type = metadata.get("filetype") or metadata.get("type") or metadata.get("contentType") or b""
    # A database holds no U+0000; no media type has one.
    declared = media_type.decode("latin-1").partition(";")[0].strip().lower().replace("\0", "")
    return name_key(shown_name(metadata)), declared[:_TYPE_CHARACTERS_MAX]


def _readable_values(metadata_header: str) -> Mapping[str, bytes]:
    """The values of a header that has not come from a client, or has been accepted by an earlier version."""
    pairs = (pair.strip(" \t").partition(" ") for pair in metadata_header.split(","))
    return {key: parse_base64(encoded) or b"" for key, _, encoded in pairs}


def detected_type(history: Sequence[HistoryEntry]) -> str:
    """The type that validation has found; empty before it has."""
    for entry in history:
        if entry.name == VALIDATION.name and (found := entry.details.get("type")):
            return found
    return ""


def prefix_end(prefix: str) -> str:
    """The smallest text after all those that begin with ``prefix``, which is not empty, by code points."""
    stem = prefix.rstrip(_LAST_CHARACTER)
    if not stem:
        return _LAST_CHARACTER * (len(prefix) + 1)  # no name is longer
    following = ord(stem[-1]) + 1
    # Half surrogate pairs are not text.
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)
