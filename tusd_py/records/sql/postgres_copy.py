"""Copies the records in PostgreSQL into files, one for each table, and back. All calls block.

The files are what ``COPY`` writes as text, so that no client program of PostgreSQL is needed, and any version of
PostgreSQL reads them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg import errors
from psycopg.sql import SQL, Identifier

from tusd_py.contracts.records import RecordsError, RecordsUnavailable
from tusd_py.records.sql.all_tables import RecordsTable
from tusd_py.records.sql.driver import open_driver
from tusd_py.records.sql.migrate import migrate_to
from tusd_py.records.sql.postgres import to_conninfo, unavailable
from tusd_py.records.sql.records_copy import CopiedTable, RecordsCopy, RestoredRecords
from tusd_py.records.sql.revision import SchemaRevision
from tusd_py.records.sql.revocations import revoke_again
from tusd_py.records.sql.schema import newest_revision

_MODE = 0o640
_READ_BYTES = 1024 * 1024
_REVISION = "alembic_version"
#: All but the locks, which are those of running processes; what other tables refer to comes first.
_TABLES = tuple(table for table in RecordsTable.metadata.sorted_tables if table.name != "locks")
#: Numbers that are given once, also after the row is deleted.
_NUMBERED = {"events": "seq", "jobs": "id", "audit_entries": "number"}
#: What a server writes before anything is uploaded; a database that has rows in other tables is in use.
_WRITTEN_AT_THE_START = {"signing_keys", "schedules", "hook_counts", "locks", "store_marks"}

_Connection = psycopg.Connection[Any]


def copy_to_files(url: str, directory: Path) -> RecordsCopy:
    """Copy every table as it is at one moment, while other processes write, into the new ``directory``.

    Raises ``RecordsUnavailable`` or ``OSError``.
    """
    try:
        with closing(_connect(url)) as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            _take_time(connection)
            revision = _revision(connection)
            directory.mkdir(mode=0o750)
            tables = {table.name: _copy_out(connection, table.name, directory) for table in _TABLES}
            numbers = {name: _last_number(connection, name, column) for name, column in _NUMBERED.items()}
    except psycopg.Error as error:
        raise unavailable(error) from error
    return RecordsCopy(revision.newest, revision.oldest, tables, numbers)


def ensure_restorable(url: str, *, replace: bool) -> None:
    """Raise ``RecordsUnavailable`` with a sentence if records cannot be restored into the database as it is."""
    try:
        with closing(_connect(url)) as connection:
            _check(connection, replace=replace)
    except psycopg.Error as error:
        raise unavailable(error) from error


@contextmanager
def loaded_from_files(
    url: str, directory: Path, copy: RecordsCopy, *, replace: bool, keep_credentials: bool, name: str, now: int
) -> Iterator[RestoredRecords]:
    """Load a copy into the database in one transaction, which ends with the block.

    With ``replace`` the tables that are there move to the new schema ``name``, and say what was revoked since; see
    ``revoke_again``. Raises ``RecordsUnavailable`` or ``OSError``; nothing has changed then, unless it is not known
    whether the end of the block was committed.
    """
    with open_driver(url).open_for_migration() as engine_connection, engine_connection.begin():
        # The transaction waits for processes that migrate, and lets them wait.
        connection = cast(_Connection, engine_connection.connection.driver_connection)
        _take_time(connection)
        _check(connection, replace=replace)
        schema = _text(connection, SQL("SELECT current_schema()"))
        before = _move_aside(connection, schema, name) if _present(connection) else ""
        migrate_to(engine_connection, copy.revision, copy.oldest_revision)
        for table, copied in copy.tables.items():
            _copy_in(connection, table, copied, directory)
        for table, last in copy.numbers.items():
            _continue_numbers(connection, table, last)
        knew_revocations = bool(before) and _is_used(connection, before)
        databases = _Databases(connection, schema, before)
        keeps_all = keep_credentials and not knew_revocations
        revoked = {} if keeps_all else revoke_again(databases, now)
        connection.execute(SQL("ANALYZE {}").format(SQL(", ").join(map(Identifier, copy.tables))))
        yield RestoredRecords(revoked, knew_revocations, before)


def _connect(url: str) -> _Connection:
    name = "tusd-py backup"
    return psycopg.connect(to_conninfo(url), autocommit=True, connect_timeout=5, application_name=name)


def _take_time(connection: _Connection) -> None:
    """Let the transaction last as long as the data needs, but wait for no lock of other processes that long."""
    for setting, value in (("statement_timeout", 0), ("idle_in_transaction_session_timeout", 0)):
        connection.execute(SQL("SET LOCAL {} = {}").format(Identifier(setting), value))
    connection.execute("SET LOCAL lock_timeout = '10s'; SET LOCAL client_encoding = 'UTF8'")


def _revision(connection: _Connection) -> SchemaRevision:
    if not _is_table(connection, _REVISION):
        raise RecordsUnavailable("the database has no tables: run tusd-py migrate, or check records.url")
    found = connection.execute("SELECT * FROM alembic_version").fetchone()
    revision = SchemaRevision(*(found or ("",)))
    if revision.newest != newest_revision():
        raise RecordsUnavailable(
            f"the database has the schema of another version (revision {revision.newest}): use the newest version of "
            "tusd-py that uses it"
        )
    return revision


def _check(connection: _Connection, *, replace: bool) -> None:
    if not _present(connection):
        return
    if not replace:
        raise RecordsUnavailable(
            "the database has records: stop the server and its workers, then add --replace to move them aside"
        )
    _revision_is_known(connection)
    users = connection.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'tusd-py'"
    ).fetchone()
    if users is not None and users[0]:
        raise RecordsUnavailable(
            f"servers or workers have {users[0]} connections to the database open: stop all of them first"
        )


def _revision_is_known(connection: _Connection) -> None:
    """Tables of a newer version, which this one does not know, would be left behind."""
    if _is_table(connection, _REVISION):
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        if found is not None and found[0] > newest_revision():
            raise RecordsUnavailable(
                f"a newer version of tusd-py has written the database (revision {found[0]}): restore with that "
                "version, or into an empty database"
            )


def _present(connection: _Connection) -> list[str]:
    names = [_REVISION, *(table.name for table in RecordsTable.metadata.sorted_tables)]
    return [name for name in names if _is_table(connection, name)]


def _is_table(connection: _Connection, name: str) -> bool:
    """Whether the schema in which tables are created has it; other schemas of the search path do not count."""
    query = "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = %s"
    return connection.execute(query, [name]).fetchone() is not None


def _is_used(connection: _Connection, schema: str) -> bool:
    names = [table.name for table in _TABLES if table.name not in _WRITTEN_AT_THE_START]
    queries = [
        SQL("EXISTS (SELECT 1 FROM {})").format(Identifier(schema, name))
        for name in names
        if _columns(connection, schema, name)
    ]
    found = connection.execute(SQL("SELECT {}").format(SQL(" OR ").join(queries))).fetchone() if queries else None
    return found is not None and bool(found[0])


def _move_aside(connection: _Connection, schema: str, name: str) -> str:
    try:
        connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(name)))
    except errors.InsufficientPrivilege:
        raise RecordsUnavailable(
            "the user of records.url may not create the schema to which the tables that are there would move: GRANT it "
            "CREATE ON DATABASE, or restore into an empty database"
        ) from None
    for table in _present(connection):
        # The indexes and the numbers of a table move with it.
        connection.execute(SQL("ALTER TABLE {} SET SCHEMA {}").format(Identifier(schema, table), Identifier(name)))
    return name


def _copy_out(connection: _Connection, name: str, directory: Path) -> CopiedTable:
    columns = tuple(column.name for column in RecordsTable.metadata.tables[name].columns)
    statement = SQL("COPY {} ({}) TO STDOUT").format(Identifier(name), SQL(", ").join(map(Identifier, columns)))
    digest = hashlib.sha256()
    descriptor = os.open(directory / _file_name(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    with open(descriptor, "wb") as file, connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for block in copy:
                digest.update(block)
                file.write(block)
        file.flush()
        os.fsync(descriptor)
        return CopiedTable(columns, cursor.rowcount, digest.hexdigest())


def _copy_in(connection: _Connection, name: str, copied: CopiedTable, directory: Path) -> None:
    columns = SQL(", ").join(map(Identifier, copied.columns))
    statement = SQL("COPY {} ({}) FROM STDIN").format(Identifier(name), columns)
    with (directory / _file_name(name)).open("rb") as file, connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            while block := file.read(_READ_BYTES):
                copy.write(block)
        if cursor.rowcount != copied.rows:
            raise RecordsUnavailable(f"{cursor.rowcount} of {copied.rows} rows of {name} could be restored")


def _file_name(table: str) -> str:
    return f"{table}.copy"


def _last_number(connection: _Connection, name: str, column: str) -> int:
    sequence = _text(connection, SQL("SELECT pg_get_serial_sequence({}, {})").format(name, column))
    # The sequence is quoted already.
    query = f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"
    found = connection.execute(query).fetchone()
    return int(found[0]) if found is not None else 0


def _continue_numbers(connection: _Connection, name: str, last: int) -> None:
    if last:
        query = "SELECT setval(pg_get_serial_sequence(%s, %s), %s)"
        connection.execute(query, [name, _NUMBERED[name], last])


def _columns(connection: _Connection, schema: str, table: str) -> set[str]:
    query = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
    return {str(row[0]) for row in connection.execute(query, [schema, table])}


def _text(connection: _Connection, query: Any) -> str:
    found = connection.execute(query).fetchone()
    if found is None or found[0] is None:
        raise RecordsError("the search_path of the user of records.url names no schema; create it")
    return str(found[0])


class _Databases:
    """See ``TwoDatabases``: two schemas of one database."""

    def __init__(self, connection: _Connection, restored: str, before: str) -> None:
        self._connection = connection
        self._schemas = {_quoted(name, connection): name for name in (restored, before) if name}
        self.restored = _quoted(restored, connection)
        self.before = _quoted(before, connection) if before else ""

    def execute(self, statement: str) -> int:
        return self._connection.execute(statement).rowcount

    def columns(self, schema: str, table: str) -> set[str]:
        return _columns(self._connection, self._schemas[schema], table)


def _quoted(name: str, connection: _Connection) -> str:
    return Identifier(name).as_string(connection)


def changed_file(directory: Path, copy: RecordsCopy) -> Path | None:
    """The first file of the copy that is not as it was written. Raises ``OSError``."""
    for name, copied in copy.tables.items():
        path = directory / _file_name(name)
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != copied.sha256:
                return path
    return None
