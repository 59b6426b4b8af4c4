"""PostgreSQL and Redis over TLS, with verified names and client certificates: records, locks, rates, broker, LISTEN."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.network.test_takeover import EXPECTED, finish, take_over
from tests.support.client import BODY, TUS, Connection, request
from tests.support.command import isolate, run
from tests.support.content import content
from tests.support.machines import machines
from tests.support.receiver import receiving
from tests.support.server import start_server
from tests.support.stored import assert_stored
from tests.support.tls import TlsServers, tls_servers
from tests.support.waiting import eventually

# Servers of PostgreSQL, Redis and tusd-py, and workers, are started.
pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(300)]

NAME = "is for another name than the host in the URL"
AUTHORITY = "is not signed by the authority that the URL names"
CLIENT = "does not accept the client certificate in the URL, or wants one"


@pytest.fixture(scope="module")
def servers() -> Iterator[TlsServers]:
    with tls_servers() as running:
        yield running


@pytest.mark.parametrize("locking", ["redis", "records"])
async def test_everything_works_over_tls(servers: TlsServers, tmp_path: Path, locking: str) -> None:
    """Uploads, takeover between two servers, rates, and a webhook that a worker delivers through the broker."""
    database = servers.postgres.create_database()
    with receiving() as hooks:
        settings = {
            "RECORDS__URL": servers.postgres_url(database),
            "REDIS__URL": servers.redis_url(),
            "LOCKING__KIND": locking,
            "RATES__STORAGE": "redis",
            "RATES__CREATIONS_PER_MINUTE": "1000",
            "WORKER__BROKER": "redis",
            "WEBHOOKS__ENDPOINTS": json.dumps([{"name": "all", "url": hooks.url, "allow_private": True}]),
        }
        with machines(tmp_path, 2, servers.postgres, settings) as pair:
            worker = start_worker(tmp_path, settings)
            try:
                one, other = pair.servers
                for method in ("HEAD", "PATCH"):
                    holder, newcomer = await Connection.open(one.url), await Connection.open(other.url)
                    takeover = await take_over(one, method, holder, newcomer)
                    assert (takeover.newcomer.status, takeover.newcomer.offset) == EXPECTED[method]
                    await finish(other, takeover, method)
                    holder.close()
                    newcomer.close()
                data = content(7, 100_000)
                made = await request("POST", one.url, {**TUS, **BODY, "Upload-Length": "100000"}, bytes(data))
                assert 201 == made.status
                assert_stored(other, made.headers["location"], data)
                await eventually(lambda: bool(hooks.calls), "the worker delivers a webhook", 60.0)
            finally:
                worker.terminate()
                worker.wait(30)
    log = "".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert "ERROR" not in log and "Traceback" not in log


def wrong(servers: TlsServers, database: str) -> list[tuple[dict[str, str], str, str]]:
    """Settings with a wrong certificate somewhere, and what the operator is told."""
    right = {"LOCKING__KIND": "redis", "REDIS__URL": servers.redis_url()}
    right["RECORDS__URL"] = servers.postgres_url(database)
    other = servers.other
    return [
        ({**right, "RECORDS__URL": servers.postgres_url(database, ca=other)}, "PostgreSQL", AUTHORITY),
        ({**right, "RECORDS__URL": servers.postgres_url(database, host="127.0.0.1")}, "PostgreSQL", NAME),
        ({**right, "RECORDS__URL": servers.postgres_url(database, client=other)}, "PostgreSQL", CLIENT),
        ({**right, "REDIS__URL": servers.redis_url(ca=other)}, "Redis", AUTHORITY),
        ({**right, "REDIS__URL": servers.redis_url(host="127.0.0.1")}, "Redis", NAME),
        ({**right, "REDIS__URL": servers.redis_url(client=other)}, "Redis", CLIENT),
        ({**right, "REDIS__URL": servers.redis_url().replace("ca.pem", "no.pem")}, "Redis", "no.pem: No such file"),
    ]


def test_wrong_certificates_are_one_sentence_in_check(
    servers: TlsServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong authority, wrong name, wrong certificate of the client, missing file."""
    isolate(tmp_path, monkeypatch)
    database = servers.postgres.create_database()
    for settings, server, sentence in wrong(servers, database):
        result = run("check", "--data-dir", "data", **settings)
        [line] = [line for line in result.output.splitlines() if line.startswith("NOT OK")]
        assert server in line and sentence in line, (server, sentence, result.output)
        assert 2 == result.exit_code


def test_wrong_certificates_at_start(servers: TlsServers, tmp_path: Path) -> None:
    """Without records the server does not start; without locks it starts, says why, and answers 503 until they come."""
    database = servers.postgres.create_database()
    for number, (settings, server, sentence) in enumerate(wrong(servers, database)[:5]):
        data = tmp_path / str(number)
        log = tmp_path / f"{number}.log"
        if server == "PostgreSQL":
            with pytest.raises(RuntimeError):
                start_server(data, settings=settings, log=log)
            assert 1 == len(log.read_text().strip().splitlines()), log.read_text()
        else:
            running = start_server(data, settings=settings, log=log)
            running.stop()
        text = log.read_text()
        assert sentence in text and "Traceback" not in text, text


def start_worker(directory: Path, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    """A worker of its own, as on another machine."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TUSD_PY_")}
    environment |= {f"TUSD_PY_{name}": value for name, value in {**settings, "WORKER__MODE": "separate"}.items()}
    with (directory / "worker.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tusd_py", "worker", "--data-dir", str(directory / "data")],
            env=environment,
            stderr=log,
        )
