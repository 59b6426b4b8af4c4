"""PostgreSQL and Redis that take TLS connections with client certificates only."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from redis import Redis
from redis.exceptions import RedisError

from tests.support.certificates import Authority, make_authority
from tests.support.ports import free_port
from tests.support.postgres import PostgresServer
from tests.support.programs import find_program

_START_SECONDS = 60.0


@dataclass(frozen=True)
class TlsServers:
    """Both servers, for ``localhost``. ``authority`` signed their certificates; ``other`` signed nothing of theirs."""

    authority: Authority
    other: Authority
    postgres: PostgresServer
    redis_port: int

    def postgres_url(
        self, database: str, *, host: str = "localhost", ca: Authority | None = None, client: Authority | None = None
    ) -> str:
        """The URL with verification of the server's certificate, and a certificate for the user."""
        client = client or self.authority
        parameters = {
            "sslmode": "verify-full",
            "sslrootcert": (ca or self.authority).certificate,
            "sslcert": client.directory / "tusd.pem",
            "sslkey": client.directory / "tusd-key.pem",
        }
        return f"postgresql://tusd@{host}:{self.postgres.port}/{database}?{urlencode(parameters)}"

    def redis_url(
        self, *, host: str = "localhost", ca: Authority | None = None, client: Authority | None = None
    ) -> str:
        """The URL with verification of the server's certificate, and a client certificate."""
        client = client or self.authority
        parameters = {
            "ssl_ca_certs": (ca or self.authority).certificate,
            "ssl_certfile": client.directory / "tusd.pem",
            "ssl_keyfile": client.directory / "tusd-key.pem",
        }
        return f"rediss://{host}:{self.redis_port}/0?{urlencode(parameters)}"


@contextmanager
def tls_servers() -> Iterator[TlsServers]:
    """Start both servers; nothing unencrypted can be done with them over TCP."""
    with tempfile.TemporaryDirectory(prefix="tls-") as name:
        directory = Path(name)
        authority, other = make_authority(directory / "authority"), make_authority(directory / "other")
        for each in (authority, other):
            each.issue("tusd")
        certificate, key = authority.issue("server", host="localhost")
        postgres = PostgresServer("ssl=on", "ssl_cert_file=server.pem", "ssl_key_file=server.key", "ssl_ca_file=ca.pem")
        postgres.add_file("server.pem", certificate.read_bytes())
        postgres.add_file("server.key", key.read_bytes())
        postgres.add_file("ca.pem", authority.certificate.read_bytes())
        postgres.add_file("pg_hba.conf", b"local all all trust\nhostssl all all all cert\n")
        postgres.start()
        try:
            servers = TlsServers(authority, other, postgres, free_port())
            with _redis(servers, certificate, key):
                yield servers
        finally:
            postgres.remove()


@contextmanager
def _redis(servers: TlsServers, certificate: Path, key: Path) -> Iterator[None]:
    program = find_program("redis-server", "redis-server is not installed (Debian: apt-get install redis-server)")
    tls = ["--tls-port", str(servers.redis_port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    tls += ["--tls-ca-cert-file", str(servers.authority.certificate), "--tls-auth-clients", "yes"]
    directory = str(servers.authority.directory)
    with subprocess.Popen(
        [program, "--port", "0", "--bind", "127.0.0.1", *tls, "--save", "", "--dir", directory],
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            deadline = time.monotonic() + _START_SECONDS
            with Redis.from_url(servers.redis_url()) as client:
                while True:
                    try:
                        client.ping()
                        break
                    except RedisError:
                        assert time.monotonic() < deadline, "redis-server does not answer"
                        time.sleep(0.02)
            yield
        finally:
            process.terminate()
