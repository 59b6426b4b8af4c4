"""The statements of the audit log, and its rows. Nothing here uses a connection."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    Text,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    update,
)

from tusd_py.model.audit import BY_SERVER, AuditEntry, AuditFilter, AuditKind, AuditOutcome, RecordedEntry, Seal
from tusd_py.records.sql.audit_tables import COMMON, PARTIAL_INDEXES, AuditEntryRow, AuditSealRow
from tusd_py.records.sql.dialect import compile_text, insert_or_ignore, json_elements, with_limit
from tusd_py.records.sql.tables import RecordsTable, from_microseconds, to_microseconds

_entries = RecordsTable.metadata.tables[AuditEntryRow.__tablename__]
_seals = RecordsTable.metadata.tables[AuditSealRow.__tablename__]
_ENTRY_COLUMNS = [column.name for column in _entries.columns]
_SEAL_COLUMNS = [column.name for column in _seals.columns]
#: The columns that filters name, those that most often select few entries first.
_BY_SELECTIVITY = ("object_id", "subject", "address", "kind", "outcome", "verb")
_NONE: ColumnElement[str] = literal_column("''")
#: The kinds whose ids are those of persons: an account, or the subject of a quota.
_PERSONAL: tuple[ColumnElement[str], ...] = tuple(
    literal_column(f"'{kind}'") for kind in (AuditKind.ACCOUNT, AuditKind.QUOTA)
)


@dataclass(frozen=True, slots=True)
class AuditStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    add: str  # a row of entry_row
    page: str  # after, limit
    time_of: str  # before, limit: the time of the newest entry up to this number
    last_seal: str
    add_seal: str  # a row of seal_row
    seals: str  # after, limit
    old_seals: str  # before, limit: number and last_entry
    delete_entries: str  # up_to
    delete_seals: str  # below
    make_checkpoint: str  # its_number
    of_person: str  # person, ids, limit: entries that name this person
    erase: str  # its_number, new_subject, new_object_id, new_address, new_salt


def compile_audit_statements(dialect: Dialect) -> AuditStatements:
    """Every statement, for ``dialect``."""
    e, s = _entries.c, _seals.c
    entry_order, seal_order = select(_entries).order_by(e.number), select(_seals).order_by(s.number)
    names_person = or_(
        # With the text of the partial index's own condition: it applies only to a statement that contains it.
        (e.subject == bindparam("person")) & literal_column("subject <> ''"),
        e.object_id.in_(json_elements(dialect, "ids")) & e.kind.in_(_PERSONAL),
    )
    old = select(s.number, s.last_entry).where(s.sealed_at < bindparam("before")).order_by(s.number)
    erase = (
        update(_entries)
        .where(e.number == bindparam("its_number"))
        .values(
            subject=bindparam("new_subject"),
            object_id=bindparam("new_object_id"),
            address=bindparam("new_address"),
            salt=bindparam("new_salt"),
        )
    )
    statements = {
        "page": with_limit(entry_order.where(e.number > bindparam("after"))),
        "time_of": with_limit(select(e.at).where(e.number <= bindparam("before")).order_by(e.number.desc())),
        "last_seal": select(_seals).where(s.number == select(func.max(s.number)).scalar_subquery()),
        "seals": with_limit(seal_order.where(s.number > bindparam("after"))),
        "old_seals": with_limit(old),
        "delete_entries": delete(_entries).where(e.number <= bindparam("up_to")),
        "delete_seals": delete(_seals).where(s.number < bindparam("below")),
        "make_checkpoint": update(_seals).where(s.number == bindparam("its_number")).values(digests=_NONE),
        "of_person": with_limit(entry_order.where(names_person)),
        "erase": erase,
    }
    return AuditStatements(
        add=compile_text(dialect, insert(_entries).inline(), _ENTRY_COLUMNS[1:]),
        add_seal=compile_text(dialect, insert_or_ignore(dialect, _seals, "number"), _SEAL_COLUMNS),
        **{name: compile_text(dialect, statement) for name, statement in statements.items()},
    )


@dataclass(frozen=True, slots=True)
class AuditSearch:
    """How entries are found: by one index, newest first; ``others`` are the texts of columns that have to match too."""

    statement: str
    values: dict[str, object]  # but ``key_at``, ``before`` and ``limit``
    others: Sequence[tuple[int, str]]

    def matches(self, row: Sequence[Any]) -> bool:
        """Whether a row that the statement has found is one of those that are searched."""
        return all(row[index] == text for index, text in self.others)


def audit_search(dialect: Dialect, matching: AuditFilter) -> AuditSearch:
    """The search for the entries that match."""
    wanted = {name: str(value) for name in _BY_SELECTIVITY if (value := getattr(matching, name))}
    indexed = next((name for name, value in wanted.items() if value not in COMMON.get(name, ())), None)
    values: dict[str, object] = {} if indexed is None else {indexed: wanted[indexed]}
    for name, at in (("since", matching.since), ("until", matching.until)):
        if at is not None:
            values[name] = to_microseconds(at)
    others = [(_ENTRY_COLUMNS.index(name), value) for name, value in wanted.items() if name != indexed]
    return AuditSearch(_list_statement(dialect, tuple(values)), values, others)


@lru_cache(256)
def _list_statement(dialect: Dialect, names: tuple[str, ...]) -> str:
    at, number = _entries.c.at, _entries.c.number
    key_at = bindparam("key_at", type_=BigInteger)
    statement = select(_entries).where(at <= key_at, or_(at < key_at, number < bindparam("before", type_=BigInteger)))
    for name in names:
        if name == "since":
            statement = statement.where(at >= bindparam("since", type_=BigInteger))
        elif name == "until":
            statement = statement.where(at < bindparam("until", type_=BigInteger))
        else:
            statement = statement.where(_entries.c[name] == bindparam(name, type_=Text))
            if name in PARTIAL_INDEXES:
                # The text of the index's own condition: it applies only to a statement that contains it.
                statement = statement.where(text(PARTIAL_INDEXES[name]))
    return compile_text(dialect, with_limit(statement.order_by(at.desc(), number.desc())))


def entry_row(entry: AuditEntry) -> dict[str, object]:
    """The row of a new entry."""
    return {
        "at": to_microseconds(entry.at),
        "subject": entry.subject,
        "method": entry.method,
        "verb": entry.verb,
        "kind": entry.kind.value,
        "object_id": entry.object_id,
        "outcome": entry.outcome.value,
        "address": entry.address,
        "reason": entry.reason,
        "salt": secrets.token_hex(16),
    }


def to_entry(row: Sequence[Any]) -> RecordedEntry:
    """The entry of a row. One that no server has written like this is an entry that says so: verifying reports it."""
    if not all(isinstance(text, str) for text in row[2:]):
        return _unreadable_entry(row[0])
    try:
        return _entry(row)
    except (ValueError, TypeError, OverflowError):
        return _unreadable_entry(row[0])


def _unreadable_entry(number: int) -> RecordedEntry:
    entry = AuditEntry(
        at=from_microseconds(0),
        subject="",
        method=BY_SERVER,
        verb="unreadable",
        kind=AuditKind.AUDIT,
        object_id="",
        outcome=AuditOutcome.FAILED,
        reason="the row was changed and cannot be read",
    )
    return RecordedEntry(number=number, entry=entry, salt="")


def _entry(row: Sequence[Any]) -> RecordedEntry:
    number, at, subject, method, verb, kind, object_id, outcome, address, reason, salt = row
    entry = AuditEntry(
        at=from_microseconds(at),
        subject=subject,
        method=method,
        verb=verb,
        kind=AuditKind(kind),
        object_id=object_id,
        outcome=AuditOutcome(outcome),
        address=address,
        reason=reason,
    )
    return RecordedEntry(number=number, entry=entry, salt=salt)


def seal_row(seal: Seal) -> dict[str, object]:
    """The row of a new seal."""
    return {
        "number": seal.number,
        "last_entry": max(seal.digests),
        "sealed_at": to_microseconds(seal.sealed_at),
        "count": seal.count,
        "root": seal.root,
        "previous": seal.previous,
        "hash": seal.hash,
        "digests": json.dumps(seal.digests, separators=(",", ":")),
    }


def to_seal(row: Sequence[Any]) -> Seal:
    """The seal of a row. One that cannot be read has a digest that no entry has: verifying reports it."""
    try:
        return _seal(row)
    except (ValueError, TypeError, OverflowError, AttributeError):
        return Seal(
            number=row[0],
            sealed_at=from_microseconds(0),
            count=0,
            root="",
            previous="",
            hash="",
            digests={row[1]: ""},
        )


def _seal(row: Sequence[Any]) -> Seal:
    number, _, sealed_at, count, root, previous, hash_, digests = row
    return Seal(
        number=number,
        sealed_at=from_microseconds(sealed_at),
        count=count,
        root=root,
        previous=previous,
        hash=hash_,
        digests={int(entry): value for entry, value in json.loads(digests or "{}").items()},
    )
