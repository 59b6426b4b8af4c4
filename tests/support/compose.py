"""Reads a compose file, and runs what ``docker-compose.yml`` describes as local processes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.balancer import running_nginx
from tests.support.golang import versitygw_program
from tests.support.image import ROOT
from tests.support.ports import free_port
from tests.support.postgres import shared_server
from tests.support.server import RunningServer, start_server
from tests.support.stored import request
from tests.support.waiting import until_now

SECRETS = "/run/secrets"
SERVERS, WORKERS = ("server-1", "server-2"), ("worker-1", "worker-2")


def read(name: str) -> dict[str, Any]:
    """The file with its anchors and merges resolved."""
    return dict(yaml.safe_load((ROOT / name).read_text()))


def secrets_in(directory: Path) -> Path:
    """Run the script that makes the secrets, for ``directory``; return where they are."""
    subprocess.run(["sh", ROOT / "examples/compose/secrets.sh", directory], check=True)
    return directory / "secrets"


@dataclass
class Topology:
    """The running services. ``addresses`` has what a name and port of the file is on this machine."""

    directory: Path
    compose: dict[str, Any]
    extra: dict[str, str]
    addresses: dict[str, str] = field(default_factory=dict)
    servers: dict[str, RunningServer] = field(default_factory=dict)
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def local(self, text: str) -> str:
        """``text`` with the addresses and the places of this machine."""
        for name, address in self.addresses.items():
            text = text.replace(name, address)
        return text

    def environment(self, service: str) -> dict[str, str]:
        """The variables of this service."""
        given: dict[str, str] = self.compose["services"][service]["environment"]
        return {name: self.local(str(value)) for name, value in given.items()} | self.extra

    def run(self, service: str, *command: str) -> subprocess.Popen[bytes]:
        """Start a command in the environment of a service, where ``tusd-py`` is found; its log goes to a file."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TUSD_PY_")}
        data = self.directory / service
        data.mkdir(exist_ok=True)
        environment = {**clean, **self.environment(service), "TUSD_PY_STORAGE__DATA_DIR": str(data)}
        environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with (self.directory / f"{service}.log").open("ab") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    @property
    def endpoint(self) -> str:
        return f"http://{self.addresses['nginx:80']}/files/"

    def start_server(self, name: str, port: int) -> None:
        """Start a server of the file, each with a data directory of its own."""
        data, log = self.directory / name, self.directory / f"{name}.log"
        self.servers[name] = start_server(data, port=port, log=log, variables=self.environment(name))

    def start_worker(self, name: str) -> None:
        self.workers[name] = self.run(name, *shlex.split(self.compose["services"][name]["command"]))


@contextmanager
def _process(command: list[str], directory: Path, name: str, **environment: str) -> Iterator[None]:
    with (directory / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=directory, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


def _answers(url: str) -> Callable[[], bool]:
    def answers() -> bool:
        try:
            return request("GET", url)[0] == 200
        except OSError:
            return False

    return answers


def _start_redis(topology: Topology, stack: ExitStack) -> None:
    command = shlex.split(topology.compose["services"]["redis"]["command"])
    port = free_port()
    directory = topology.directory / "redis"
    directory.mkdir()
    stack.enter_context(_process([*command, "--port", str(port), "--bind", "127.0.0.1"], directory, "redis"))
    topology.addresses["redis:6379"] = f"127.0.0.1:{port}"


def _start_s3(topology: Topology, stack: ExitStack) -> None:
    service = topology.compose["services"]["s3"]
    port = free_port()
    buckets = topology.directory / "buckets"
    for volume in service["volumes"]:
        (buckets / volume.split(":/buckets/")[1]).mkdir(parents=True)
    # As Docker does: two dollar signs are one.
    words = [*(word.replace("$$", "$") for word in service["entrypoint"]), *service["command"].split()]
    words = [
        topology.local(word).replace("/buckets", str(buckets)).replace(":7070", f"127.0.0.1:{port}") for word in words
    ]
    path = f"{versitygw_program().parent}:{os.environ['PATH']}"
    stack.enter_context(_process(words, topology.directory, "s3", PATH=path, **service["environment"]))
    topology.addresses["s3:7070"] = f"127.0.0.1:{port}"
    until_now(_answers(f"http://127.0.0.1:{port}/health"), "the S3 service is healthy")


def _start_nginx(topology: Topology, stack: ExitStack, port: int) -> None:
    site = topology.local((ROOT / "examples/compose/nginx.conf").read_text())
    stack.enter_context(running_nginx(topology.directory / "nginx", site, port))


@contextmanager
def running_topology(directory: Path, extra: dict[str, str]) -> Iterator[Topology]:
    """Run the services of ``docker-compose.yml``, without Prometheus and Grafana. ``extra`` are variables for all."""
    topology = Topology(directory, read("docker-compose.yml"), extra)
    postgres = shared_server()
    ports = {name: free_port() for name in (*SERVERS, "nginx")}
    topology.addresses |= {f"{name}:8080": f"127.0.0.1:{ports[name]}" for name in SERVERS}
    topology.addresses["nginx:80"] = f"127.0.0.1:{ports['nginx']}"
    secrets = secrets_in(directory)
    url = secrets / "records_url"
    url.write_text(
        url.read_text().replace("postgres:5432/tusd", f"127.0.0.1:{postgres.port}/{postgres.create_database()}")
    )
    topology.addresses[SECRETS] = str(secrets)
    address = topology.compose["services"]["nginx"]["networks"]["default"]["ipv4_address"]
    topology.addresses[address] = "127.0.0.1"
    with ExitStack() as stack:
        _start_redis(topology, stack)
        _start_s3(topology, stack)
        stack.callback(_stop, topology)
        for name in SERVERS:
            topology.start_server(name, ports[name])
        for name in WORKERS:
            topology.start_worker(name)
        _start_nginx(topology, stack, ports["nginx"])
        yield topology


def _stop(topology: Topology) -> None:
    for server in topology.servers.values():
        server.kill()
    for worker in topology.workers.values():
        worker.kill()
        worker.wait(10)
