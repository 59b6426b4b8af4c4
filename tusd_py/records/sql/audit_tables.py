"""The tables of the audit log."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, Integer, Text, text
from sqlmodel import Field

from tusd_py.records.sql.tables import Instant, RecordsTable

# SQLite numbers rows by itself only if the type of the column is INTEGER.
_Number = BigInteger().with_variant(Integer, "sqlite")


#: The columns of lists that have a partial index, and its condition. What most entries have, those of a creation, is in
#: none of them: it is found soon by time, and a creation would pay for it.
PARTIAL_INDEXES = {
    "subject": "subject <> ''",
    "address": "address <> ''",
    "verb": "verb NOT IN ('create', 'finish')",
    "kind": "kind <> 'upload'",
    "outcome": "outcome <> 'done'",
}
COMMON = {"verb": ("create", "finish"), "kind": ("upload",), "outcome": ("done",)}


class AuditEntryRow(RecordsTable, table=True):
    """An entry of the audit log, numbered in the order of the commits."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_at", "at", "number"),
        Index("ix_audit_entries_object_id", "object_id", "at", "number"),
        *(
            Index(f"ix_audit_entries_{column}", column, "at", "number", sqlite_where=text(condition))
            for column, condition in PARTIAL_INDEXES.items()
        ),
        # A number that is used again would make a removed entry look like a changed one.
        {"sqlite_autoincrement": True},
    )

    number: int | None = Field(primary_key=True, sa_type=_Number)
    at: datetime = Field(sa_type=Instant)
    subject: str = Field(sa_type=Text)
    method: str = Field(sa_type=Text)
    verb: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    object_id: str = Field(sa_type=Text)
    outcome: str = Field(sa_type=Text)
    address: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    salt: str = Field(sa_type=Text)


class AuditSealRow(RecordsTable, table=True):
    """A link of the hash chain over the entries. Without ``digests`` it is the checkpoint of pruned entries."""

    __tablename__ = "audit_seals"

    number: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    last_entry: int = Field(sa_type=BigInteger)
    sealed_at: datetime = Field(sa_type=Instant)
    count: int = Field(sa_type=BigInteger)
    root: str = Field(sa_type=Text)
    previous: str = Field(sa_type=Text)
    hash: str = Field(sa_type=Text)
    digests: str = Field(sa_type=Text)
