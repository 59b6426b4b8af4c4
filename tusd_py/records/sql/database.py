"""Opens a database: records, job queue and endpoint states over one transaction runner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self

from tusd_py.records.sql.accounts import SqlAccounts, compile_account_statements
from tusd_py.records.sql.api_keys import SqlApiKeys, compile_api_key_statements
from tusd_py.records.sql.audit_log import SqlAuditLog
from tusd_py.records.sql.audit_statements import compile_audit_statements
from tusd_py.records.sql.code_statements import compile_code_statements
from tusd_py.records.sql.codes import SqlAccessCodes
from tusd_py.records.sql.compiled_later import compiled_later
from tusd_py.records.sql.driver import DatabaseDriver, open_driver
from tusd_py.records.sql.endpoint_states import SqlEndpointStates, compile_endpoint_statements
from tusd_py.records.sql.erasure import SqlPersonalData, compile_erasure_statements
from tusd_py.records.sql.grant_rows import GrantStatements
from tusd_py.records.sql.hook_counts import SqlHookCounts, compile_hook_count_statements
from tusd_py.records.sql.job_statements import compile_job_statements
from tusd_py.records.sql.jobs import SqlJobQueue
from tusd_py.records.sql.link_rows import compile_link_statements
from tusd_py.records.sql.links import SqlLinks
from tusd_py.records.sql.list_indexes import ensure_list_indexes
from tusd_py.records.sql.quota_statements import compile_quota_statements
from tusd_py.records.sql.quotas import SqlQuotaLedger
from tusd_py.records.sql.records import SqlRecords
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.schedules import SqlScheduleStates, compile_schedule_statements
from tusd_py.records.sql.schema import bring_up_to_date
from tusd_py.records.sql.search import compile_search_statements
from tusd_py.records.sql.signing_keys import SqlSigningKeys, compile_signing_key_statements
from tusd_py.records.sql.sqlite import DatabaseUrl
from tusd_py.records.sql.statements import Statements, compile_statements
from tusd_py.records.sql.store_marks import SqlStoreMarks, compile_store_mark_statements
from tusd_py.records.sql.transactions import Reader, Writer
from tusd_py.records.sql.upload_sessions import SqlUploadSessions, compile_session_statements

#: What a commit survives. "completion": a power failure from an upload's completion on, and always the death of the
#: process. "power": always a power failure, at one fsync for each group of commits.
Durability = Literal["completion", "power"]


@dataclass(frozen=True, slots=True)
class SqlDatabase:
    """An open database. Its parts share two threads and every transaction; closing ``records`` closes all."""

    records: SqlRecords
    job_queue: SqlJobQueue
    endpoint_states: SqlEndpointStates
    hook_counts: SqlHookCounts
    schedule_states: SqlScheduleStates
    quota_ledger: SqlQuotaLedger
    audit_log: SqlAuditLog
    signing_keys: SqlSigningKeys
    store_marks: SqlStoreMarks
    upload_sessions: SqlUploadSessions
    accounts: SqlAccounts
    api_keys: SqlApiKeys
    personal_data: SqlPersonalData
    links: SqlLinks
    codes: SqlAccessCodes
    clock: Callable[[], datetime] | None  #: that of the database, if several machines share it

    @classmethod
    async def open(
        cls,
        url: DatabaseUrl,
        *,
        durability: Durability = "completion",
        on_work: Callable[[], None] | None = None,
        lists: bool = False,
    ) -> Self:
        """Open the database at ``url`` (``sqlite:///PATH``) for this event loop, after pending migrations.

        ``on_work`` is called on the event loop, once for each commit that added jobs or made them due; it must neither
        block nor raise. With ``lists`` the indexes that only lists of uploads need are created if they are missing.
        Raises ``RecordsUnavailable`` if the database cannot be opened, or if a newer version of the program has written
        it.
        """
        driver = await asyncio.to_thread(_prepare, url, lists)
        statements, job_statements = compile_statements(driver.dialect), compile_job_statements(driver.dialect)
        writer, reader, clock = await asyncio.to_thread(_connect, driver, statements, durability)
        audit_statements = compile_audit_statements(driver.dialect)
        grants = GrantStatements(
            compiled_later(compile_link_statements, driver.dialect),
            compiled_later(compile_code_statements, driver.dialect),
        )
        runner = TransactionRunner(writer, reader, on_work=on_work, add_audit_entry=audit_statements.add)
        quota_statements = compiled_later(compile_quota_statements, driver.dialect)
        accounts = SqlAccounts(runner, compiled_later(compile_account_statements, driver.dialect))
        api_keys = SqlApiKeys(runner, compiled_later(compile_api_key_statements, driver.dialect))
        return cls(
            records=SqlRecords(
                runner,
                statements,
                job_statements,
                quota_statements,
                audit_statements,
                grants,
                compiled_later(compile_search_statements, driver.dialect),
                in_one_step=not driver.pipelines,
            ),
            job_queue=SqlJobQueue(runner, job_statements),
            endpoint_states=SqlEndpointStates(runner, compiled_later(compile_endpoint_statements, driver.dialect)),
            hook_counts=SqlHookCounts(runner, compile_hook_count_statements(driver.dialect)),
            schedule_states=SqlScheduleStates(runner, compiled_later(compile_schedule_statements, driver.dialect)),
            quota_ledger=SqlQuotaLedger(runner, quota_statements),
            audit_log=SqlAuditLog(runner, audit_statements, driver.dialect),
            signing_keys=SqlSigningKeys(runner, compiled_later(compile_signing_key_statements, driver.dialect)),
            store_marks=SqlStoreMarks(runner, compiled_later(compile_store_mark_statements, driver.dialect)),
            upload_sessions=SqlUploadSessions(runner, compiled_later(compile_session_statements, driver.dialect)),
            accounts=accounts,
            api_keys=api_keys,
            personal_data=SqlPersonalData(
                runner, compiled_later(compile_erasure_statements, driver.dialect), accounts, api_keys
            ),
            links=SqlLinks(runner, grants.links),
            codes=SqlAccessCodes(runner, grants.codes, job_statements),
            clock=clock,
        )

    async def close(self) -> None:
        """Finish the calls made before, and close the database. Raises ``RecordsUnavailable`` if it hangs."""
        await self.records.close()


def _connect(
    driver: DatabaseDriver, statements: Statements, durability: Durability
) -> tuple[Writer, Reader, Callable[[], datetime] | None]:
    """The writer and the reader, with a connection each, and the clock of the database."""
    writing, reading = driver.connect(), driver.connect()
    if not driver.pipelines:
        return Writer(writing, statements, always_durable=durability == "power"), Reader(reading, statements), None
    from tusd_py.records.sql.pipelined import open_pipelined

    return open_pipelined(writing, reading, statements)  # type: ignore[arg-type]  # as the driver says


def _prepare(url: DatabaseUrl, lists: bool) -> DatabaseDriver:
    bring_up_to_date(url)
    driver = open_driver(url)
    if lists:
        ensure_list_indexes(driver)
    return driver
