"""What lists of uploads are filtered and ordered by. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tusd_py.model.steps import VALIDATION
from tusd_py.model.upload import HistoryEntry, Status
from tusd_py.model.values import frozen
from tusd_py.protocol.errors import InvalidMetadata
from tusd_py.protocol.file_names import shown_name
from tusd_py.protocol.metadata import parse_metadata

#: Where a page ends: the time in microseconds since 1970, or the key of the name, and the id of its last upload.
PageKey = tuple[int | str, str]

_TYPE_CHARACTERS_MAX = 127
_LAST_CHARACTER = "\U0010ffff"
_ALL = frozenset(Status)


@frozen(kw_only=True)
class UploadFilter:
    """Which uploads a list has. ``owner`` is ``None`` for those of everybody; empty texts select nothing."""

    statuses: frozenset[Status] = _ALL
    owner: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    name_prefix: str = ""  # a ``name_key``
    declared_type: str = ""
    detected_type: str = ""

    @property
    def is_by_name(self) -> bool:
        """Whether the list is ordered by name; otherwise the newest upload stands first."""
        return bool(self.name_prefix) and self.owner is None

    def matches(self, upload: ListedUpload) -> bool:
        return (
            upload.status in self.statuses
            and self.owner in (None, upload.owner)
            and (self.created_from is None or upload.created_at >= self.created_from)
            and (self.created_before is None or upload.created_at < self.created_before)
            and upload.name_key.startswith(self.name_prefix)
            and self.declared_type in ("", upload.declared_type)
            and self.detected_type in ("", upload.detected_type)
        )


@frozen(kw_only=True)
class ListedUpload:
    """What a list needs of an upload to select it."""

    id: str
    status: Status
    owner: str
    created_at: datetime
    name_key: str
    declared_type: str
    detected_type: str


def name_key(name: str) -> str:
    """The name of a file as lists compare it: upper and lower case are the same."""
    return name.casefold()


def declared_fields(metadata_header: str | None) -> tuple[str, str]:
    """The ``name_key`` of the file and the media type that the client has declared; empty if it has not."""
    if not metadata_header:
        return "", ""
    try:
        metadata = parse_metadata(metadata_header)
    except InvalidMetadata:
        return "", ""
    media_type = metadata.get("filetype") or metadata.get("type") or metadata.get("contentType") or b""
    # A database holds no U+0000; no media type has one.
    declared = media_type.decode("latin-1").partition(";")[0].strip().lower().replace("\0", "")
    return name_key(shown_name(metadata)), declared[:_TYPE_CHARACTERS_MAX]


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
