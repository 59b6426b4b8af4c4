"""The S3 servers that tests start: versitygw, SeaweedFS, and Ceph's gateway with a cluster of one disk in memory.

Each listens on the loopback only and keeps its objects in a directory, or in memory, for one test run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.golang import versitygw_program
from tests.support.ports import free_port
from tests.support.programs import find_program

ACCESS_KEY, SECRET_KEY = "tusd-py-test", "tusd-py-secret"
_COMMAND_SECONDS = 60.0


class S3Service(ABC):
    """A program that serves S3 over ``directory``; ``start`` again after ``stop`` serves the same objects."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def objects(self) -> Path:
        """Where the objects are, if they are in a directory."""
        return self.directory / "objects"

    @property
    def process_id(self) -> int:
        """That of the process that answers."""
        assert self._process is not None, "it runs"
        return self._process.pid

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The command of the process that answers."""

    def start(self) -> None:
        """Start the process that answers; it does not answer at once."""
        self._process = self.spawn(self.command())

    def stop(self) -> None:
        """Kill the process that answers."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End everything."""
        self.stop()

    def spawn(self, command: Sequence[str], **variables: str) -> subprocess.Popen[bytes]:
        """Start a process in the directory, with a log there."""
        with (self.directory / f"{Path(command[0]).name}.log").open("ab") as log:
            environment = {**os.environ, **variables}
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory, env=environment)


class Versitygw(S3Service):
    """A gateway over a directory. Needs Go to be built."""

    def __init__(self, directory: Path, *, logs_requests: bool = False, keeps_alive: bool = False) -> None:
        super().__init__(directory)
        self._logs_requests = logs_requests
        self._keeps_alive = keeps_alive

    def command(self) -> Sequence[str]:
        self.objects.mkdir(exist_ok=True)
        options = ["--port", f"127.0.0.1:{self.port}", "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--quiet"]
        if self._logs_requests:
            options += ["--access-log", str(self.directory / "access.log")]
        if self._keeps_alive:
            options += ["--keep-alive"]
        return [str(versitygw_program()), *options, "posix", str(self.objects)]


class SeaweedFS(S3Service):
    """Its servers of volumes and names in one process, and its gateway, which ``stop`` kills. ``make store-servers``
    installs it.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._program = find_program("weed", "SeaweedFS is not installed (make store-servers)", path=path)
        # Each listens for HTTP and for gRPC.
        names = [f"{name}.{kind}" for name in ("master", "volume", "filer") for kind in ("port", "port.grpc")]
        self._ports = {name: free_port() for name in names}
        self._servers: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._servers is None:
            self.objects.mkdir()
            keys = {"credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], "name": "tests"}
            actions = ["Admin", "Read", "Write", "List", "Tagging"]
            (self.directory / "s3.json").write_text(json.dumps({"identities": [{**keys, "actions": actions}]}))
            self._servers = self.spawn(self._command_of_servers())
        super().start()

    def command(self) -> Sequence[str]:
        filer = f"127.0.0.1:{self._ports['filer.port']}.{self._ports['filer.port.grpc']}"
        options = {
            "filer": filer,
            "ip.bind": "127.0.0.1",
            "port": self.port,
            "port.grpc": free_port(),
            "port.iceberg": 0,
            "port.lance": 0,
            "config": "s3.json",
            # As AWS: otherwise a wrong name of a bucket makes a bucket.
            "autoCreateBucket": "false",
            "localSocket": f"{self.directory}/s3.sock",
        }
        return [self._program, "s3", *(f"-{name}={value}" for name, value in options.items())]

    def close(self) -> None:
        super().close()
        if self._servers is not None:
            self._servers.kill()
            self._servers.wait()

    def _command_of_servers(self) -> Sequence[str]:
        options = {
            **self._ports,
            "dir": "objects",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "filer": "true",
            "filer.localSocket": f"{self.directory}/filer.sock",
            # Only the loopback is used.
            "master.telemetry": "false",
            # A bucket takes seven volumes.
            "volume.max": 10_000,
            "master.volumeSizeLimitMB": 1024,
        }
        return [self._program, "server", *(f"-{name}={value}" for name, value in options.items())]


class RadosGateway(S3Service):
    """Ceph's gateway, a monitor and one object server in memory (Debian: radosgw, ceph-mon, ceph-osd).

    ``stop`` kills the gateway only: the others have the objects.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._cluster: list[subprocess.Popen[bytes]] = []
        for name in ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph-authtool", "monmaptool"):
            find_program(name, f"{name} is not installed (Debian: apt-get install radosgw ceph-mon ceph-osd)")

    def start(self) -> None:
        if not self._cluster:
            self._start_cluster()
        super().start()

    def command(self) -> Sequence[str]:
        return ["radosgw", "-f", "-n", "client.admin"]

    def close(self) -> None:
        super().close()
        for process in reversed(self._cluster):
            process.kill()
            process.wait()

    def spawn(self, command: Sequence[str], **variables: str) -> subprocess.Popen[bytes]:
        return super().spawn(command, **self._variables(), **variables)

    def _start_cluster(self) -> None:
        for name in ("mon", "osd", "run", "rgw"):
            (self.directory / name).mkdir()
        cluster, disk = str(uuid.uuid4()), str(uuid.uuid4())
        addresses = f"[v2:127.0.0.1:{free_port()},v1:127.0.0.1:{free_port()}]"
        (self.directory / "ceph.conf").write_text(self._configuration(cluster, addresses))
        self._make_keys()
        self._run("monmaptool", "--create", "--addv", "a", addresses, "--fsid", cluster, "monmap")
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap", "--keyring", "keyring")
        self._cluster.append(self.spawn(["ceph-mon", "-f", "-i", "a"]))
        self._run("ceph", "osd", "new", disk)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._cluster.append(self.spawn(["ceph-osd", "-f", "-i", "0"]))
        keys = ("--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY)
        self._run("radosgw-admin", "user", "create", "--uid", "tests", "--display-name", "tests", *keys)

    def _make_keys(self) -> None:
        """One file with the keys of all: the monitor takes those of the others from it."""
        everything = ("--cap", "osd", "allow *", "--cap", "mgr", "allow *")
        names: Mapping[str, Sequence[str]] = {"mon.": (), "client.admin": everything, "osd.0": everything}
        for name, more in names.items():
            create = () if (self.directory / "keyring").exists() else ("--create-keyring",)
            self._run("ceph-authtool", *create, "keyring", "--gen-key", "-n", name, "--cap", "mon", "allow *", *more)

    def _configuration(self, cluster: str, addresses: str) -> str:
        options = {
            "fsid": cluster,
            "mon host": addresses,
            "public network": "127.0.0.0/8",
            "keyring": f"{self.directory}/keyring",
            "run dir": f"{self.directory}/run",
            "admin socket": f"{self.directory}/run/$cluster-$name.$pid.asok",
            "pid file": "",
            "log to file": "false",
            "mon cluster log to file": "false",
            "mon data": f"{self.directory}/mon",
            "osd data": f"{self.directory}/osd",
            "rgw data": f"{self.directory}/rgw",
            # A change of the cluster, such as a new pool, waits so long.
            "paxos propose interval": "0.05",
            "osd objectstore": "memstore",
            "memstore device bytes": str(8 << 30),
            "osd pool default size": "1",
            "osd pool default min size": "1",
            "osd pool default pg num": "4",
            "osd pool default pgp num": "4",
            "osd pool default pg autoscale mode": "off",
            "osd crush chooseleaf type": "0",
            "mon allow pool size one": "true",
            "mon max pg per osd": "1000",
            "rgw frontends": f"beast endpoint=127.0.0.1:{self.port}",
            "rgw dynamic resharding": "false",
            "rgw run sync thread": "false",
        }
        return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in options.items())

    def _run(self, *command: str) -> None:
        environment = {**os.environ, **self._variables()}
        subprocess.run(
            command,
            cwd=self.directory,
            env=environment,
            check=True,
            timeout=_COMMAND_SECONDS,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _variables(self) -> dict[str, str]:
        return {"CEPH_CONF": f"{self.directory}/ceph.conf"}
