"""Access codes in a database, and the wrong guesses of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import itemgetter

from tusd_py.model.audit import AuditEntry
from tusd_py.model.codes import (
    GUESSES_KEPT,
    PRESSED_ADDRESSES,
    PRESSED_WITHIN,
    AccessCode,
    CodeState,
    Guesses,
    Redemption,
    wait_before_guess,
)
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.records.sql.code_rows import to_code
from tusd_py.records.sql.code_statements import CodeStatements
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.job_rows import event_row
from tusd_py.records.sql.job_statements import JobStatements
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.tables import from_microseconds, to_microseconds
from tusd_py.records.sql.transactions import EffectRows, Query, SingleStatement, WriteResult, job_rows


class SqlAccessCodes:
    """Keeps codes in the database of the records; see ``SqlDatabase.open``."""

    def __init__(self, runner: TransactionRunner, statements: CodeStatements, job_statements: JobStatements) -> None:
        self._sql = statements
        self._job_sql = job_statements
        self._write = runner.write
        self._write_audited = runner.write_audited
        self._read = runner.read

    async def add(self, code: AccessCode, digest: str, audit: Sequence[AuditEntry] = ()) -> bool:
        row: dict[str, object] = {
            "id": code.id,
            "digest": digest,
            "owner": code.owner,
            "label": code.label,
            "created_at": to_microseconds(code.created_at),
            "expires_at": to_microseconds(code.expires_at),
            "files_max": code.files_max,
            "bytes_max": code.bytes_max,
            "files": 0,
            "bytes": 0,
            "terminated_at": None,
            "warned_at": None,
        }
        return (await self._write_audited(SingleStatement(self._sql.add, row), audit)).count > 0

    async def find(self, code_id: str) -> AccessCode | None:
        found: list[AccessCode] = await self._read(Query(self._sql.find, {"code_id": code_id}, to_code))
        return found[0] if found else None

    async def list_codes(self, *, owner: str = "", before_id: str = "", limit: int) -> list[AccessCode]:
        values: dict[str, object] = {"before_id": before_id, "limit": limit}
        if not owner:
            return await self._read(Query(self._sql.list_all, values, to_code))
        return await self._read(Query(self._sql.list_of, {**values, "its_owner": owner}, to_code))

    async def redeem(self, digests: Sequence[str], address: str, now: datetime) -> Redemption:
        attempt = RedeemCode(self._sql, digests, address, now)
        await self._write(attempt)
        return attempt.result

    async def extend(
        self, code_id: str, seconds: float, now: datetime, latest: datetime, audit: Sequence[AuditEntry] = ()
    ) -> bool:
        values: dict[str, object] = {
            "code_id": code_id,
            "more": timedelta(seconds=seconds) // timedelta(microseconds=1),
            "now": to_microseconds(now),
            "latest": to_microseconds(latest),
        }
        return (await self._write_audited(SingleStatement(self._sql.extend, values), audit)).count > 0

    async def terminate(self, code_id: str, now: datetime, audit: Sequence[AuditEntry] = ()) -> bool:
        values: dict[str, object] = {"code_id": code_id, "now": to_microseconds(now)}
        return (await self._write_audited(SingleStatement(self._sql.terminate, values), audit)).count > 0

    async def expiring(self, now: datetime, until: datetime, limit: int) -> list[AccessCode]:
        values: dict[str, object] = {"now": to_microseconds(now), "until": to_microseconds(until), "limit": limit}
        return await self._read(Query(self._sql.expiring, values, to_code))

    async def note_warning(
        self, code_id: str, expires_at: datetime, now: datetime, effects: Effects = NO_EFFECTS
    ) -> bool:
        at = to_microseconds(now)
        values: dict[str, object] = {"code_id": code_id, "seen_end": to_microseconds(expires_at), "now": at}
        events = [event_row(event, 0) for event in effects.events]
        rows = EffectRows(self._job_sql, events, job_rows(effects.jobs, now), None, at)
        return (await self._write(AnnounceEnd(self._sql.note_warning, values, rows))).count > 0

    async def find_uploads(self, grant: str, after_id: str, limit: int) -> list[str]:
        values: dict[str, object] = {"its_grant": grant, "after_id": after_id, "limit": limit}
        return await self._read(Query(self._sql.uploads, values, itemgetter(0)))

    async def prune(self, before: datetime, limit: int) -> int:
        values: dict[str, object] = {"before": to_microseconds(before), "limit": limit}
        await self._write(SingleStatement(self._sql.prune_guesses, values, durable=False))
        return (await self._write(SingleStatement(self._sql.prune, values, durable=False))).count


@dataclass(frozen=True, slots=True)
class AnnounceEnd:
    """Note that the end of a code is announced, with the event that does so and its jobs."""

    statement: str
    values: dict[str, object]
    effects: EffectRows
    durable: bool = True

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        if connection.execute(self.statement, self.values).rowcount == 0:
            return WriteResult(count=0)
        return WriteResult(has_work=self.effects.write(connection))


@dataclass(slots=True)
class RedeemCode:
    """One attempt to redeem a code: the wait of its address, the code, and the count of a wrong guess."""

    sql: CodeStatements
    digests: Sequence[str]
    address: str
    now: datetime
    durable: bool = False
    result: Redemption = field(default_factory=Redemption)

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        # Attempts of one address that arrive together must not all see the count before them.
        connection.lock_keys([f"guess {self.address}"])
        row = connection.execute(self.sql.guesses, {"address": self.address}).fetchone()
        guesses = None if row is None else Guesses(count=row[0], last_at=from_microseconds(row[1]))
        since: dict[str, object] = {
            "since": to_microseconds(self.now - PRESSED_WITHIN),
            "limit": PRESSED_ADDRESSES,
        }
        is_pressed = connection.execute(self.sql.count_guessing, since).fetchone()[0] >= PRESSED_ADDRESSES
        wait = wait_before_guess(guesses, self.now, is_pressed=is_pressed)
        if wait is not None:
            self.result = Redemption(wait=wait)
            return WriteResult(count=0)
        for digest in self.digests:
            found = connection.execute(self.sql.find_by_digest, {"its_digest": digest}).fetchone()
            if found is not None and (code := to_code(found)).state(self.now) is CodeState.ACTIVE:
                self.result = Redemption(code=code)
                return WriteResult(count=0)
        self._count_guess(connection, guesses)
        self.result = Redemption()
        return WriteResult()

    def _count_guess(self, connection: DatabaseConnection, guesses: Guesses | None) -> None:
        is_recent = guesses is not None and self.now - guesses.last_at < GUESSES_KEPT
        count = guesses.count + 1 if guesses is not None and is_recent else 1
        connection.execute(self.sql.remove_guesses, {"address": self.address})
        values = {"address": self.address, "count": count, "last_at": to_microseconds(self.now)}
        connection.execute(self.sql.add_guesses, values)
