"""Links in a database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
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
from tusd_py.records.sql.dialect import compile_text, with_limit
from tusd_py.records.sql.every_table import RecordsTable
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.tables import from_microseconds, to_microseconds
from tusd_py.records.sql.transactions import Query, SingleStatement

_links = RecordsTable.metadata.tables["links"]
_NONE = literal_column("''")


@dataclass(frozen=True, slots=True)
class LinkStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    add: str  # a row of link_row
    find: str  # link_id
    list_all: str  # its_kind, its_owner, before_id, limit
    revoke: str  # link_id, now
    claim: str  # link_id, new_claim, now, until
    release: str  # link_id, seen_claim, more, bytes_used_up, now
    ended: str  # now, limit
    settle: str  # link_id, now
    prune: str  # before, limit


def compile_link_statements(dialect: Dialect) -> LinkStatements:
    """Every statement, for ``dialect``."""
    c = _links.c
    of_id = c.id == bindparam("link_id", type_=Text)
    now = bindparam("now", type_=BigInteger)
    owner = bindparam("its_owner", type_=Text)
    # Ids begin with the time: the order of ids is that of creation.
    before = bindparam("before_id", type_=Text)
    is_free = or_(c.claim == _NONE, c.claim == bindparam("new_claim", type_=Text), c.claimed_until <= now)
    total = c.bytes_sent + bindparam("more", type_=BigInteger)
    used_up = total >= bindparam("bytes_used_up", type_=BigInteger)
    kept = select(*c).where(c.kind == bindparam("its_kind", type_=Text), or_(owner == _NONE, c.owner == owner))
    old = select(c.id).where(c.settled_at < bindparam("before", type_=BigInteger))
    has_ended = or_(c.expires_at <= now, c.revoked_at.is_not(null()))
    unsettled = select(*c).where(c.settled_at.is_(null()), has_ended).order_by(c.expires_at)
    set_use = update(_links).where(of_id, c.used_at.is_(null()), c.revoked_at.is_(null()))
    statements = {
        "find": select(*c).where(of_id),
        "list_all": with_limit(kept.where(or_(before == _NONE, c.id < before)).order_by(c.id.desc())),
        "revoke": update(_links).where(of_id, c.revoked_at.is_(null())).values(revoked_at=now),
        "claim": set_use.where(is_free).values(
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


def _to_link(row: Sequence[Any]) -> Link:
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
    )


def instant_or_none(value: int | None) -> datetime | None:
    """The instant of a column that may be empty."""
    return None if value is None else from_microseconds(value)


class SqlLinks:
    """Keeps links in the database of the records; see ``SqlDatabase.open``."""

    def __init__(self, runner: TransactionRunner, statements: LinkStatements) -> None:
        self._sql = statements
        self._write = runner.write
        self._read = runner.read

    async def add(self, link: Link) -> None:
        await self._write(SingleStatement(self._sql.add, link_row(link)))

    async def find(self, link_id: str) -> Link | None:
        found: list[Link] = await self._read(Query(self._sql.find, {"link_id": link_id}, _to_link))
        return found[0] if found else None

    async def list_links(self, kind: LinkKind, *, owner: str = "", before_id: str = "", limit: int) -> list[Link]:
        values: dict[str, object] = {
            "its_kind": kind.value,
            "its_owner": owner,
            "before_id": before_id,
            "limit": limit,
        }
        return await self._read(Query(self._sql.list_all, values, _to_link))

    async def revoke(self, link_id: str, now: datetime) -> bool:
        return await self._change(self._sql.revoke, link_id, now=to_microseconds(now))

    async def claim_use(self, link_id: str, claim: str, now: datetime, until: datetime) -> bool:
        times = {"now": to_microseconds(now), "until": to_microseconds(until)}
        return await self._change(self._sql.claim, link_id, new_claim=claim, **times)

    async def release_use(self, link_id: str, claim: str, bytes_sent: int, bytes_max: int, now: datetime) -> None:
        counts = {"more": bytes_sent, "bytes_used_up": bytes_max, "now": to_microseconds(now)}
        await self._change(self._sql.release, link_id, seen_claim=claim, **counts)

    async def ended(self, now: datetime, limit: int) -> list[Link]:
        return await self._read(Query(self._sql.ended, {"now": to_microseconds(now), "limit": limit}, _to_link))

    async def settle(self, link_id: str, now: datetime) -> None:
        await self._change(self._sql.settle, link_id, now=to_microseconds(now))

    async def prune(self, before: datetime, limit: int) -> int:
        values: dict[str, object] = {"before": to_microseconds(before), "limit": limit}
        return (await self._write(SingleStatement(self._sql.prune, values, durable=False))).count

    async def _change(self, statement: str, link_id: str, **values: object) -> bool:
        return (await self._write(SingleStatement(statement, {"link_id": link_id, **values}))).count > 0
