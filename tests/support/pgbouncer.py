"""Starts PgBouncer in transaction mode in front of the PostgreSQL server of the tests."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.ports import free_port
from tests.support.postgres import PostgresServer, user_of_the_server
from tests.support.programs import skip_unless_ci

_START_SECONDS = 20.0


class Pooler:
    """A running PgBouncer with few connections of its own."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory, self._port = directory, port

    def url(self, database: str) -> str:
        """``database`` through the pooler."""
        return f"postgresql://tusd@/{database}?host={self._directory}&port={self._port}"


@contextmanager
def running_pgbouncer(postgres: PostgresServer) -> Iterator[Pooler]:
    """Start PgBouncer for every database of ``postgres``."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        skip_unless_ci("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
    user, port = user_of_the_server(), free_port()
    with tempfile.TemporaryDirectory(prefix="pgb-") as name:
        directory = Path(name)
        (directory / "users").write_text('"tusd" ""\n')
        (directory / "ini").write_text(
            f"[databases]\n* = host={postgres.directory} port={postgres.port}\n"
            f"[pgbouncer]\nlisten_port = {port}\nunix_socket_dir = {directory}\nauth_type = trust\n"
            f"auth_file = {directory}/users\npool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 200\n"
        )
        if user is not None:
            shutil.chown(directory, user)
        with subprocess.Popen(
            [program, "-q", directory / "ini"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=user,
            group=user,
            extra_groups=() if user else None,
            cwd="/",
        ) as process:
            try:
                pooler = Pooler(directory, port)
                _wait(pooler.url("postgres"))
                yield pooler
            finally:
                process.kill()


def _wait(url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "PgBouncer does not answer"
            time.sleep(0.05)
