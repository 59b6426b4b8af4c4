"""Servers that share PostgreSQL, Redis and a directory, as machines do; each request goes to any of them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.support.client import PatientUpload
from tests.support.postgres import PostgresServer
from tests.support.server import RunningServer, start_server


@dataclass
class Machines:
    """Running servers. ``servers`` may be changed while uploads run: a killed one is replaced at its port."""

    servers: list[RunningServer]
    settings: Mapping[str, str]
    dice: random.Random = field(default_factory=lambda: random.Random(1))

    def replace(self, number: int) -> None:
        """Start a server in place of one that has ended, at its port."""
        old = self.servers[number]
        log = old.data_dir.parent / f"server-{number}.log"
        self.servers[number] = start_server(old.data_dir, settings=self.settings, port=old.port, log=log)

    def upload(self, content: memoryview, *, rate: float = float("inf")) -> ScatteredUpload:
        """An upload that sends each of its requests to any of the servers."""
        return ScatteredUpload(self.servers[0].url, content, rate=rate, machines=self)


@dataclass
class ScatteredUpload(PatientUpload):
    """A ``PatientUpload`` behind something like a proxy that keeps no client with one server."""

    machines: Machines | None = None

    async def _step(self) -> bool:
        assert self.machines is not None
        server = self.machines.dice.choice(self.machines.servers)
        self.endpoint = at_server(self.endpoint, server)
        if self.url is not None:
            self.url = at_server(self.url, server)
        return await super()._step()


def _kill(servers: list[RunningServer]) -> None:
    for server in servers:
        if server.process.poll() is None:
            server.kill()


def at_server(url: str, server: RunningServer) -> str:
    """The same URL at this server."""
    return urlunsplit(urlsplit(url)._replace(netloc=urlsplit(server.url).netloc))


@contextmanager
def machines(
    directory: Path, count: int, postgres: PostgresServer, settings: Mapping[str, str], *, database: str = ""
) -> Iterator[Machines]:
    """Start ``count`` servers one after the other; they are killed at the end."""
    name = database or postgres.create_database()
    settings = {"RECORDS__URL": postgres.url(name), "WORKER__MODE": "separate", **settings}
    with ExitStack() as stack:
        running: list[RunningServer] = []
        stack.callback(_kill, running)
        for number in itertools.islice(itertools.count(), count):
            log = directory / f"server-{number}.log"
            running.append(start_server(directory / "data", settings=settings, log=log))
        yield Machines(running, settings)
