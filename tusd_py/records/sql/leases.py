"""Leases in a PostgreSQL database, and messages by its notifications. No lease holds a connection.

All leases of a process share one connection and its transactions, apart from those of the records: they write nothing
that has to reach a disk (the table is unlogged), so they need not wait for it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from tusd_py.contracts.leases import Held, Taken
from tusd_py.contracts.locker import LocksUnavailable
from tusd_py.contracts.records import RecordsError
from tusd_py.records.sql.driver import PipelinedConnection, open_driver
from tusd_py.records.sql.group_commit import GroupCommit
from tusd_py.records.sql.listen import listening
from tusd_py.records.sql.pipelined import retrying

_WAITING_MAX = 10_000
#: Messages under way; more are lost, as they may be.
_SENDING_MAX = 1000
_CLOSE_SECONDS = 10.0
#: Leases that ended before this are those of dead processes, for uploads that no request has touched since.
_FORGOTTEN_SECONDS = 3600

_NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

# One statement says both whether the lease is taken and, if not, whose it is. A row that another transaction inserts
# meanwhile is not in its snapshot: then the owner is not known.
_TAKE = f"""
WITH taken AS (
  INSERT INTO locks (key, owner, ends_at) VALUES (%(key)s, %(owner)s, {_NOW} + %(milliseconds)s)
  ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, ends_at = excluded.ends_at
  WHERE locks.ends_at <= {_NOW} OR locks.owner = excluded.owner
  RETURNING key
)
SELECT (SELECT count(*) FROM taken), (SELECT owner FROM locks WHERE key = %(key)s)
"""
_RENEW = f"""
INSERT INTO locks (key, owner, ends_at) VALUES (%(key)s, %(owner)s, {_NOW} + %(milliseconds)s)
ON CONFLICT (key) DO UPDATE SET ends_at = excluded.ends_at WHERE locks.owner = excluded.owner
RETURNING key
"""
_RELEASE = "DELETE FROM locks WHERE key = %(key)s AND owner = %(owner)s"
_SEND = "SELECT pg_notify(%(channel)s, %(message)s)"
_PRUNE = f"DELETE FROM locks WHERE ends_at < {_NOW} - %(milliseconds)s"
_CHANNEL = "tusd_py_locks_{}"


@dataclass(frozen=True, slots=True)
class LeaseStatement:
    """A statement about the lease of ``key``, or about none."""

    statement: str
    values: dict[str, object]
    key: str = ""
    has_rows: bool = True


class LeaseWriter:
    """Runs statements, many in one transaction and one round trip; each gets its rows, or its number of rows."""

    def __init__(self, connection: PipelinedConnection) -> None:
        self._connection = connection

    def run_batch(self, requests: Sequence[LeaseStatement]) -> Sequence[list[Any] | Exception]:
        connection = self._connection
        try:
            return retrying(connection, lambda: self._transact(requests))
        except RecordsError as error:
            reason = str(error)
        except connection.statement_errors as error:
            reason = str(connection.to_fault(error))
        return [LocksUnavailable(reason) for _ in requests]

    def _transact(self, requests: Sequence[LeaseStatement]) -> list[list[Any] | Exception]:
        # In the order of their keys, so that two transactions never wait for each other.
        order = sorted(range(len(requests)), key=lambda place: requests[place].key)
        with self._connection.writing(durable=False):
            results = {
                place: self._connection.execute(requests[place].statement, requests[place].values) for place in order
            }
        return [results[place].fetchall() if request.has_rows else [] for place, request in enumerate(requests)]


class SqlLeases:
    """``Leases`` in the PostgreSQL database at ``url``; ``listen_url`` is where it gets messages, if anywhere."""

    def __init__(self, url: str, listen_url: str | None) -> None:
        self.address = secrets.token_hex(6)
        self._url = url
        self._listen_url = listen_url
        self._group: GroupCommit[LeaseStatement, list[Any]] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._listening = ExitStack()

    def open(self, on_message: Callable[[str], None]) -> None:
        connection = open_driver(self._url).connect()
        self._group = GroupCommit(
            LeaseWriter(connection).run_batch,  # type: ignore[arg-type]  # only a database with pipelines has leases
            name="locks",
            on_end=connection.close,
            waiting_max=_WAITING_MAX,
        )
        self._send(LeaseStatement(_PRUNE, {"milliseconds": _FORGOTTEN_SECONDS * 1000}, has_rows=False))
        if self._listen_url is not None:

            def on_notification(text: str) -> None:
                if text:  # else the connection is new, and messages may have been lost, as they may be
                    on_message(text)

            channel = _CHANNEL.format(self.address)
            self._listening.enter_context(listening(self._listen_url, {channel: on_notification}))

    async def take(self, key: str, owner: str, seconds: float) -> Taken | Held:
        values = {"key": key, "owner": owner, "milliseconds": int(seconds * 1000)}
        ((count, holder),) = await self._submit(LeaseStatement(_TAKE, values, key))
        if count:
            return Taken(holder is not None and holder != owner)
        return Held(holder or "")

    async def renew(self, owners: Collection[tuple[str, str]], seconds: float) -> set[str]:
        renewed = await asyncio.gather(
            *(
                self._submit(
                    LeaseStatement(_RENEW, {"key": key, "owner": owner, "milliseconds": int(seconds * 1000)}, key)
                )
                for key, owner in owners
            )
        )
        return {key for (key, _), rows in zip(owners, renewed, strict=True) if not rows}

    async def release(self, key: str, owner: str) -> None:
        await self._submit(LeaseStatement(_RELEASE, {"key": key, "owner": owner}, key, has_rows=False))

    def send(self, address: str, message: str) -> None:
        self._send(LeaseStatement(_SEND, {"channel": _CHANNEL.format(address), "message": message}))

    async def close(self) -> None:
        self._listening.close()
        if self._sending:
            await asyncio.wait(self._sending)
        group, self._group = self._group, None
        if group is not None:
            await group.close(_CLOSE_SECONDS)

    async def _submit(self, request: LeaseStatement) -> list[Any]:
        if self._group is None:
            raise LocksUnavailable("the locks are closed")
        try:
            return await self._group.submit(request)
        except RecordsError as error:
            raise LocksUnavailable(str(error)) from error

    def _send(self, request: LeaseStatement) -> None:
        if len(self._sending) >= _SENDING_MAX:
            return
        task = asyncio.create_task(self._try(request))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _try(self, request: LeaseStatement) -> None:
        try:
            await self._submit(request)
        except LocksUnavailable:
            pass  # messages may be lost
