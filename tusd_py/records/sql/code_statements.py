"""The statements of access codes, compiled once. Nothing here runs them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    Text,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    update,
)

from tusd_py.records.sql.all_tables import RecordsTable
from tusd_py.records.sql.dialect import compile_text, insert_or_ignore, with_limit

_codes = RecordsTable.metadata.tables["access_codes"]
_guesses = RecordsTable.metadata.tables["code_guesses"]
_uploads = RecordsTable.metadata.tables["uploads"]
_NONE: ColumnElement[str] = literal_column("''")
_ZERO: ColumnElement[int] = literal_column("0")

#: The columns in the order in which ``codes.to_code`` expects them.
COLUMNS = (
    "id",
    "owner",
    "label",
    "created_at",
    "expires_at",
    "files_max",
    "bytes_max",
    "files",
    "bytes",
    "terminated_at",
    "warned_at",
)
_code = select(*(_codes.c[name] for name in COLUMNS))


@dataclass(frozen=True, slots=True)
class CodeStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    add: str  # a row
    find: str  # code_id
    find_by_digest: str  # its_digest
    list_all: str  # before_id, limit
    list_of: str  # its_owner and the same
    extend: str  # code_id, more, now, latest
    terminate: str  # code_id, now
    expiring: str  # now, until, limit
    note_warning: str  # code_id, seen_end, now
    count: str  # code_id, more_files, more_bytes
    uploads: str  # its_grant, after_id, limit
    guesses: str  # address
    count_guessing: str  # since, limit
    add_guesses: str  # a row
    remove_guesses: str  # address
    prune: str  # before, limit
    prune_guesses: str  # before, limit


def compile_code_statements(dialect: Dialect) -> CodeStatements:
    """Every statement, for ``dialect``."""
    add = insert_or_ignore(dialect, _codes, "digest")
    return CodeStatements(
        add=compile_text(dialect, add, [column.name for column in _codes.columns]),
        add_guesses=compile_text(dialect, insert(_guesses), [column.name for column in _guesses.columns]),
        **_of_codes(dialect),
        **_of_guesses(dialect),
    )


def _of_codes(dialect: Dialect) -> dict[str, str]:
    c = _codes.c
    of_id = c.id == bindparam("code_id", type_=Text)
    now = bindparam("now", type_=BigInteger)
    # Ids begin with the time: the order of ids is that of creation.
    before_id = bindparam("before_id", type_=Text)
    is_active = (c.terminated_at.is_(null()), c.expires_at > now)
    end = c.expires_at + bindparam("more", type_=BigInteger)
    latest = bindparam("latest", type_=BigInteger)
    unwarned = (c.terminated_at.is_(null()), c.warned_at.is_(null()))
    old = select(c.id).where(c.expires_at < bindparam("before", type_=BigInteger))
    listed = _code.where(or_(before_id == _NONE, c.id < before_id)).order_by(c.id.desc())
    of_owner = c.owner == bindparam("its_owner", type_=Text)
    u = _uploads.c
    of_grant = (u["grant"] == bindparam("its_grant", type_=Text), u.id > bindparam("after_id", type_=Text))
    # So that the partial index applies.
    has_grant = u["grant"] != _NONE
    is_open = u.status == literal_column("'uploading'")
    statements = {
        "find": _code.where(of_id),
        "find_by_digest": _code.where(c.digest == bindparam("its_digest", type_=Text)),
        "list_all": with_limit(listed),
        "list_of": with_limit(listed.where(of_owner)),
        "extend": update(_codes)
        .where(of_id, *is_active)
        .values(expires_at=case((end > latest, latest), else_=end), warned_at=null()),
        "terminate": update(_codes).where(of_id, *is_active).values(terminated_at=now),
        "expiring": with_limit(
            _code.where(*unwarned, c.expires_at > now, c.expires_at <= bindparam("until", type_=BigInteger)).order_by(
                c.expires_at
            )
        ),
        "note_warning": update(_codes)
        .where(of_id, *unwarned, c.expires_at == bindparam("seen_end", type_=BigInteger))
        .values(warned_at=now),
        "count": update(_codes)
        .where(of_id)
        .values(
            files=c.files + bindparam("more_files", type_=BigInteger),
            bytes=c.bytes + bindparam("more_bytes", type_=BigInteger),
        ),
        "uploads": with_limit(select(u.id).where(*of_grant, has_grant, is_open).order_by(u.id)),
        "prune": delete(_codes).where(c.id.in_(with_limit(old))),
    }
    return {name: compile_text(dialect, statement) for name, statement in statements.items()}


def _of_guesses(dialect: Dialect) -> dict[str, str]:
    c = _guesses.c
    of_address = c.address == bindparam("address", type_=Text)
    recent = select(c.last_at).where(c.last_at > bindparam("since", type_=BigInteger))
    old = select(c.address).where(c.last_at < bindparam("before", type_=BigInteger))
    statements = {
        "guesses": select(c["count"], c.last_at).where(of_address),
        # No further than it matters: every attempt to redeem a code counts, and others wait for it.
        "count_guessing": select(func.count(_ZERO)).select_from(with_limit(recent).subquery()),
        "remove_guesses": delete(_guesses).where(of_address),
        "prune_guesses": delete(_guesses).where(c.address.in_(with_limit(old))),
    }
    return {name: compile_text(dialect, statement) for name, statement in statements.items()}
