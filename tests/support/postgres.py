"""Starts one PostgreSQL server for each test process, and makes a database for each test.

If PostgreSQL is not installed, the test is skipped, or fails where ``CI`` is set.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import closing, suppress
from functools import cache
from itertools import count
from pathlib import Path

import psycopg

from tests.support.ports import free_port
from tests.support.programs import skip_unless_ci
from tusd_py.records.sql.all_tables import RecordsTable
from tusd_py.records.sql.schema import bring_up_to_date

_START_SECONDS = 60.0
_numbers = count()

#: For tests, which lose nothing if the machine dies.
_OPTIONS = ("fsync=off", "full_page_writes=off", "synchronous_commit=on", "max_connections=200", "shared_buffers=32MB")


class PostgresServer:
    """A private cluster in a temporary directory. It listens on a unix socket, and on a free port of the loopback.

    ``options`` are settings such as ``"ssl=on"``, beside those of every test. With ``copy_of`` it begins as a standby
    of a running server.
    """

    def __init__(self, *options: str, copy_of: PostgresServer | None = None) -> None:
        self._options = (*_OPTIONS, *options)
        self._bin = _find_programs()
        self._user = user_of_the_server()
        # Not under tmp_path: the path of a socket has at most 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="pg-"))
        self.directory.chmod(0o755)
        self._data = self.directory / "data"
        self._data.mkdir(mode=0o700)
        if self._user is not None:
            for path in (self.directory, self._data):
                shutil.chown(path, self._user)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        if copy_of is not None:
            source = f"host={copy_of.directory} port={copy_of.port} user=tusd application_name=standby"
            command: list[str | Path] = [
                self._bin / "pg_basebackup",
                "-d",
                source,
                "-D",
                self._data,
                "-R",
                "-X",
                "stream",
            ]
            self._run([*command, "-c", "fast", "--no-sync"])
            return
        initdb: list[str | Path] = [self._bin / "initdb", "-D", self._data, "-U", "tusd", "-A", "trust", "-N"]
        self._run([*initdb, "--no-instructions", "-E", "UTF8", "--locale=C.UTF-8"])

    def url(self, database: str) -> str:
        """Where ``database`` is, over the unix socket."""
        return f"postgresql://tusd@/{database}?host={self.directory}&port={self.port}"

    def tcp_url(self, database: str) -> str:
        """Where ``database`` is, over TCP."""
        return f"postgresql://tusd@127.0.0.1:{self.port}/{database}"

    def add_file(self, name: str, content: bytes, *, append: bool = False) -> None:
        """Write a file into the data directory, as the server wants its keys: nobody else may read it."""
        path = self._data / name
        with path.open("ab" if append else "wb") as file:
            file.write(content)
        path.chmod(0o600)
        if self._user is not None:
            shutil.chown(path, self._user)

    def promote(self) -> None:
        """Make a standby the primary."""
        with closing(psycopg.connect(self.url("postgres"), autocommit=True)) as connection:
            connection.execute("SELECT pg_promote(true, 60)")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = [part for option in self._options for part in ("-c", option)]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._bin / "postgres", "-D", self._data, "-k", self.directory, "-p", str(self.port)),
                    *("-c", "listen_addresses=127.0.0.1", *options),
                ],
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd="/",
                user=self._user,
                group=self._user,
                extra_groups=() if self._user else None,
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self.directory / "log").read_text()
                time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End the server: fast (SIGINT), or at once and without a checkpoint (SIGQUIT)."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(_START_SECONDS)

    def pause(self) -> None:
        """Stop every process of the server, without ending it."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let every process go on."""
        self._signal_all(signal.SIGCONT)

    def processes(self) -> list[int]:
        """Every process of the server."""
        if self._process is None:
            return []
        pid = self._process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def remove(self) -> None:
        """End the server and delete its data."""
        self.stop(signal.SIGQUIT)
        # Not waited for: thousands of files take seconds, and pytest-xdist ends its processes before that.
        subprocess.run(
            ["sh", "-c", f"rm -rf {shlex.quote(str(self.directory))} &"],
            check=True,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def create_database(self, template: str = "template0") -> str:
        """A new database as a copy of ``template``; return its name."""
        name = f"test_{next(_numbers)}"
        with closing(psycopg.connect(self.url("postgres"), autocommit=True)) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return name

    def _run(self, command: list[str | Path]) -> None:
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            user=self._user,
            group=self._user,
            extra_groups=() if self._user else None,
        )


@cache
def shared_server() -> PostgresServer:
    """The server of this test process, which ends with it."""
    server = PostgresServer()
    atexit.register(server.remove)
    server.start()
    return server


@cache
def _template() -> str:
    server = shared_server()
    name = server.create_database()
    bring_up_to_date(server.url(name))
    return name


def new_database() -> str:
    """The URL of a new, empty database with the newest schema."""
    server = shared_server()
    return server.url(server.create_database(_template()))


@cache
def _emptied() -> str:
    return new_database()


def empty_database() -> str:
    """The URL of a database with the newest schema and no rows, which tests use one after the other."""
    url = _emptied()
    with psycopg.connect(url) as connection:
        tables = ", ".join(RecordsTable.metadata.tables)
        connection.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE".encode())
    return url


def blank_database() -> str:
    """The URL of a new database without any table."""
    server = shared_server()
    return server.url(server.create_database())


def _find_programs() -> Path:
    # Debian keeps the server's programs outside of PATH, by version.
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    program = shutil.which("initdb") or (str(found[-1]) if found else None)
    if program is None:
        skip_unless_ci("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return Path(program).resolve().parent


def user_of_the_server() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    return "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"
