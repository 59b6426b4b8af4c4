"""The statements of links, compiled once, and their rows as values. Nothing here runs a statement."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    Text,
    bindparam,
    case,
    delete,
    insert,
    literal_column,
    null,
    or_,
    select,
    update,
)

from tusd_py.model.links import Link, LinkKind
from tusd_py.records.sql.all_tables import RecordsTable
from tusd_py.records.sql.dialect import compile_text, with_limit
from tusd_py.records.sql.tables import from_microseconds, to_microseconds

_links = RecordsTable.metadata.tables["links"]
_NONE: ColumnElement[str] = literal_column("''")


@dataclass(frozen=True, slots=True)
class LinkStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    add: str  # a row of link_row
    find: str  # link_id
    list_all: str  # its_kind, before_id, limit
    list_of: str  # its_owner and the same
    revoke: str  # link_id, now
    claim: str  # link_id, new_claim, now, until, sent_max
    release: str  # link_id, seen_claim, more, bytes_used_up, now
    ended: str  # now, limit
    settle: str  # link_id, now
    prune: str  # before, limit


def compile_link_statements(dialect: Dialect) -> LinkStatements:
    """Every statement, for ``dialect``."""
    c = _links.c
    of_id = c.id == bindparam("link_id", type_=Text)
    now = bindparam("now", type_=BigInteger)
    # Ids begin with the time: the order of ids is that of creation.
    before = bindparam("before_id", type_=Text)
    is_free = or_(c.claim == _NONE, c.claim == bindparam("new_claim", type_=Text), c.claimed_until <= now)
    total = c.bytes_sent + bindparam("more", type_=BigInteger)
    used_up = total >= bindparam("bytes_used_up", type_=BigInteger)
    listed = (
        select(*c)
        .where(c.kind == bindparam("its_kind", type_=Text), or_(before == _NONE, c.id < before))
        .order_by(c.id.desc())
    )
    of_owner = c.owner == bindparam("its_owner", type_=Text)
    old = select(c.id).where(c.settled_at < bindparam("before", type_=BigInteger))
    has_ended = or_(c.expires_at <= now, c.revoked_at.is_not(null()))
    unsettled = select(*c).where(c.settled_at.is_(null()), has_ended).order_by(c.expires_at)
    set_use = update(_links).where(of_id, c.used_at.is_(null()), c.revoked_at.is_(null()))
    statements = {
        "find": select(*c).where(of_id),
        "list_all": with_limit(listed),
        "list_of": with_limit(listed.where(of_owner)),
        "revoke": update(_links).where(of_id, c.revoked_at.is_(null())).values(revoked_at=now),
        "claim": set_use.where(is_free, c.bytes_sent <= bindparam("sent_max", type_=BigInteger)).values(
            claim=bindparam("new_claim", type_=Text), claimed_until=bindparam("until", type_=BigInteger)
        ),
        "release": update(_links)
        .where(of_id, c.claim == bindparam("seen_claim", type_=Text))
        .values(claim=_NONE, bytes_sent=total, used_at=case((used_up, now), else_=c.used_at)),
        "ended": with_limit(unsettled),
        "settle": update(_links).where(of_id, c.settled_at.is_(null())).values(settled_at=now),
        "prune": delete(_links).where(c.id.in_(with_limit(old))),
    }
    return LinkStatements(
        add=compile_text(dialect, insert(_links), [column.name for column in _links.columns]),
        **{name: compile_text(dialect, statement) for name, statement in statements.items()},
    )


def link_row(link: Link) -> dict[str, object]:
    """The row of a new link."""
    return {
        "id": link.id,
        "kind": link.kind.value,
        "upload_id": link.upload_id,
        "owner": link.owner,
        "created_at": to_microseconds(link.created_at),
        "expires_at": to_microseconds(link.expires_at),
        "types": json.dumps(link.types),
        "origins": json.dumps(link.origins),
        "may_download": link.may_download,
        "is_single_use": link.is_single_use,
        "revoked_at": None,
        "used_at": None,
        "settled_at": None,
        "claim": "",
        "claimed_until": None,
        "bytes_sent": 0,
    }


def to_link(row: Sequence[Any]) -> Link:
    """The link of a row, in the order of the table's columns."""
    return Link(
        id=row[0],
        kind=LinkKind(row[1]),
        upload_id=row[2],
        owner=row[3],
        created_at=from_microseconds(row[4]),
        expires_at=from_microseconds(row[5]),
        types=tuple(json.loads(row[6])),
        origins=tuple(json.loads(row[7])),
        may_download=bool(row[8]),
        is_single_use=bool(row[9]),
        revoked_at=instant_or_none(row[10]),
        used_at=instant_or_none(row[11]),
        settled_at=instant_or_none(row[12]),
        bytes_sent=row[15],
    )


def instant_or_none(value: int | None) -> datetime | None:
    """The instant of a column that may be empty."""
    return None if value is None else from_microseconds(value)
