"""Converts ``Upload`` values to rows of the database and back. Nothing here uses a connection."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from tusd_py.model.upload import NO_DETAILS, NO_STATE, History, HistoryEntry, Kind, Status, Upload
from tusd_py.protocol.listing import declared_fields, detected_type
from tusd_py.records.sql.tables import from_microseconds, to_microseconds

#: The columns in the order in which ``from_row`` expects them.
COLUMNS = (
    "id",
    "kind",
    "status",
    "length",
    "offset",
    "token",
    "metadata_header",
    "concat_header",
    "owner",
    "created_at",
    "updated_at",
    "expires_at",
    "completed_at",
    "history",
    "pending_steps",
    "storage",
    "grant",
    "length_max",
)


#: The columns that only an insertion sets.
DECLARED_COLUMNS = ("name_key", "declared_type")

# A statement that sets fewer columns costs less: SQLite also writes each index that has one of them, although its value
# is the same, and PostgreSQL has to compare them.

#: The columns that change while bytes arrive.
PROGRESS_COLUMNS = ("length", "offset", "token", "updated_at", "expires_at", "storage")
#: The columns that change when the status or the history does.
STATE_COLUMNS = (*PROGRESS_COLUMNS, "status", "completed_at", "history", "pending_steps", "detected_type")
_state_of = attrgetter("status", "completed_at", "history", "pending_steps")
_rest_of = attrgetter("kind", "metadata_header", "concat_header", "owner", "created_at", "grant", "length_max")


def is_progress(before: Upload, after: Upload) -> bool:
    """Whether ``PROGRESS_COLUMNS`` have all that changes."""
    return _state_of(after) == _state_of(before) and _rest_of(after) == _rest_of(before)


def is_state(before: Upload, after: Upload) -> bool:
    """Whether ``STATE_COLUMNS`` have all that changes."""
    return bool(_rest_of(after) == _rest_of(before))


def progress_row(upload: Upload, token: int) -> dict[str, object]:
    """As ``to_row``, with ``PROGRESS_COLUMNS`` and what tells the change from others."""
    return {
        "id": upload.id,
        "status": upload.status.value,
        "length": upload.length,
        "offset": upload.offset,
        "token": token,
        "updated_at": to_microseconds(upload.updated_at),
        "expires_at": None if upload.expires_at is None else to_microseconds(upload.expires_at),
        "storage": _format_storage(upload.storage),
    }


def inserted_row(upload: Upload) -> dict[str, object]:
    """As ``to_row``, with ``DECLARED_COLUMNS``: what they derive from never changes."""
    row = to_row(upload, upload.token)
    row["name_key"], row["declared_type"] = declared_fields(upload.metadata_header)
    return row


#: The columns that differ among ordinary new uploads, in the order of ``plain_row``, which is that of the table.
PLAIN_COLUMNS = (
    "id",
    "status",
    "length",
    "offset",
    "metadata_header",
    "owner",
    "created_at",
    "updated_at",
    "expires_at",
    "completed_at",
    "history",
    "pending_steps",
    "storage",
    "grant",
    "name_key",
    "declared_type",
)


def plain_row(upload: Upload) -> tuple[object, ...]:
    """The values of ``PLAIN_COLUMNS``: by position, and without the others, SQLite takes 4 of 17 microseconds less."""
    created_at, completed_at = to_microseconds(upload.created_at), upload.completed_at
    name_key, media_type = declared_fields(upload.metadata_header)
    return (
        upload.id,
        upload.status.value,
        upload.length,
        upload.offset,
        upload.metadata_header,
        upload.owner,
        created_at,
        created_at if upload.updated_at is upload.created_at else to_microseconds(upload.updated_at),
        None if upload.expires_at is None else to_microseconds(upload.expires_at),
        None if completed_at is None else to_microseconds(completed_at),
        _format_history(upload.history),
        json.dumps(upload.pending_steps) if upload.pending_steps else "[]",
        _format_storage(upload.storage),
        upload.grant,
        name_key,
        media_type,
    )


def to_row(upload: Upload, token: int) -> dict[str, object]:
    """The row of ``upload`` by column name, as the driver takes it, with ``token`` instead of the upload's own."""
    created_at = to_microseconds(upload.created_at)
    return {
        "id": upload.id,
        "kind": upload.kind.value,
        "status": upload.status.value,
        "length": upload.length,
        "offset": upload.offset,
        "token": token,
        "metadata_header": upload.metadata_header,
        "concat_header": upload.concat_header,
        "owner": upload.owner,
        "created_at": created_at,
        "updated_at": created_at if upload.updated_at is upload.created_at else to_microseconds(upload.updated_at),
        "expires_at": None if upload.expires_at is None else to_microseconds(upload.expires_at),
        "completed_at": None if upload.completed_at is None else to_microseconds(upload.completed_at),
        "history": _format_history(upload.history),
        "pending_steps": json.dumps(upload.pending_steps) if upload.pending_steps else "[]",
        "storage": _format_storage(upload.storage),
        "grant": upload.grant,
        "length_max": upload.length_max,
        "detected_type": _detected_type(upload.history),
    }


def from_row(row: Sequence[Any], parts: tuple[str, ...] = ()) -> Upload:
    """The upload of ``row``, whose values are in the order of ``COLUMNS``."""
    return Upload(
        id=row[0],
        kind=Kind(row[1]),
        status=Status(row[2]),
        length=row[3],
        offset=row[4],
        token=row[5],
        metadata_header=row[6],
        concat_header=row[7],
        owner=row[8],
        created_at=from_microseconds(row[9]),
        updated_at=from_microseconds(row[10]),
        expires_at=None if row[11] is None else from_microseconds(row[11]),
        completed_at=None if row[12] is None else from_microseconds(row[12]),
        history=_parse_history(row[13]),
        pending_steps=() if row[14] == "[]" else tuple(json.loads(row[14])),
        storage=_parse_storage(row[15]),
        grant=row[16],
        length_max=row[17],
        parts=parts,
    )


#: A row as most are, of no upload.
_OF_NO_UPLOAD = ("0" * 32, "regular", "uploading", 1, 0, 0, "a", None, "a", 1, 1, 1, None, "[]", "[]", "{}", "", None)


def spend_as_if_found(count: int) -> None:
    """Take the time of ``from_row`` for rows that do not exist.

    An upload of another owner is refused as an unknown one, and the time of the refusal must not distinguish them.
    """
    for _ in range(count):
        from_row(_OF_NO_UPLOAD)


# Most uploads have no storage state and, while bytes arrive, no history: the common cases skip the JSON codec.


def _format_storage(storage: Mapping[str, object]) -> str:
    return json.dumps(dict(storage), separators=(",", ":")) if storage else "{}"


def _parse_storage(text: str) -> Mapping[str, object]:
    return NO_STATE if text == "{}" else MappingProxyType(json.loads(text))


class StoredHistory(History):
    """A history as the database has it. It is parsed when an entry is looked at: most requests never do that.

    It is written back as it is, with the entries that were ``added`` since.
    """

    __slots__ = ("_entries", "added", "text")

    def __init__(self, text: str, added: tuple[HistoryEntry, ...] = ()) -> None:
        self.text = text
        self.added = added
        self._entries: tuple[HistoryEntry, ...] | None = None

    @property
    def entries(self) -> tuple[HistoryEntry, ...]:
        if self._entries is None:
            self._entries = (*map(_parse_entry, json.loads(self.text)), *self.added)
        return self._entries

    def with_entry(self, entry: HistoryEntry) -> StoredHistory:
        return StoredHistory(self.text, (*self.added, entry))

    def __getitem__(self, index: Any) -> Any:
        return self.entries[index]

    def __len__(self) -> int:
        return len(self.entries)

    def __eq__(self, other: object) -> bool:
        return self.entries == (other.entries if isinstance(other, StoredHistory) else other)

    def __hash__(self) -> int:
        return hash(self.entries)

    def __repr__(self) -> str:
        return repr(self.entries)


def _format_history(history: Sequence[HistoryEntry]) -> str:
    if type(history) is StoredHistory:
        if not history.added:
            return history.text
        # It has at least one entry: of an empty one there is no ``StoredHistory``.
        return f"{history.text[:-1]},{','.join(map(_format_entry, history.added))}]"
    if not history:
        return "[]"
    return f"[{','.join(map(_format_entry, history))}]"


def _detected_type(history: Sequence[HistoryEntry]) -> str | None:
    """The type that validation has found; ``None`` if it is what the column has, or there is none."""
    return detected_type(history.added if type(history) is StoredHistory else history) or None


def _format_entry(entry: HistoryEntry) -> str:
    # By hand: JSON escapes nothing in a status or a date, and a reason is rare.
    if not entry.reason and not entry.name and entry.details is NO_DETAILS:
        return '{"status":"' + entry.status + '","at":"' + _iso(to_microseconds(entry.at)) + '","reason":""}'
    reason = json.dumps(entry.reason) if entry.reason else '""'
    more = (
        f',"name":{json.dumps(entry.name)},"details":{json.dumps(dict(entry.details))}'
        if entry.name or entry.details
        else ""
    )
    return f'{{"status":"{entry.status}","at":"{entry.at.isoformat()}","reason":{reason}{more}}}'


def _iso(microseconds: int) -> str:
    """``isoformat`` of an instant, in two thirds of the time: the second is often that of the instant before."""
    second, fraction = divmod(microseconds, 1_000_000)
    return f"{_iso_second(second)}.{fraction:06}+00:00" if fraction else f"{_iso_second(second)}+00:00"


@lru_cache(maxsize=16)
def _iso_second(second: int) -> str:
    return from_microseconds(second * 1_000_000).isoformat()[:19]


def _parse_history(text: str) -> Sequence[HistoryEntry]:
    return () if text == "[]" else StoredHistory(text)


def _parse_entry(entry: Mapping[str, Any]) -> HistoryEntry:
    details = MappingProxyType(entry["details"]) if entry.get("details") else NO_DETAILS
    at = datetime.fromisoformat(entry["at"])
    return HistoryEntry(Status(entry["status"]), at, entry["reason"], entry.get("name", ""), details)
