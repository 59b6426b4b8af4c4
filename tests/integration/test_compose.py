"""The compose files: what they name exists, and what ``docker-compose.yml`` describes works as local processes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import compose
from tests.support.client import TUS, PatientUpload
from tests.support.compose import Topology
from tests.support.content import MIB, content
from tests.support.image import ROOT, stages
from tests.support.receiver import Receiver, receiving
from tests.support.stored import request
from tests.support.waiting import until_now
from tusd_py.settings import Settings, load

FILES = {"docker-compose.yml": ROOT, "examples/single-machine.yml": ROOT / "examples"}
PREFIX = "TUSD_PY_"


def services(name: str) -> dict[str, dict[str, Any]]:
    """The services of a file."""
    found: dict[str, dict[str, Any]] = compose.read(name)["services"]
    return found


def ours(name: str) -> dict[str, dict[str, Any]]:
    """The services of a file that run our image."""
    return {key: service for key, service in services(name).items() if service["image"] == "tusd-py"}


def variables(service: dict[str, Any], secrets: Path) -> dict[str, str]:
    """The environment of a service: ``${NAME:-default}`` is its default, and secrets are in ``secrets``."""
    given = {key: str(value).replace(compose.SECRETS, str(secrets)) for key, value in service["environment"].items()}
    return {key: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for key, value in given.items()}


@pytest.mark.parametrize("name", FILES)
def test_variables_are_settings_with_valid_values(name: str, tmp_path: Path) -> None:
    """The settings of every server and worker can be loaded, and all of a file have the same ones."""
    secrets = compose.secrets_in(tmp_path)
    loaded: list[Settings] = []
    for service in ours(name).values():
        given = variables(service, secrets)
        assert all(key.startswith(PREFIX) for key in given)
        loaded.append(load(None, given))
    assert len(loaded) == (4 if name == "docker-compose.yml" else 2)
    if name == "docker-compose.yml":
        assert [loaded[0]] * 4 == loaded
        assert (secrets / "s3_secret_key").read_text() == loaded[0].s3.secret_key
        assert (secrets / "postgres_password").read_text() in loaded[0].records.url


@pytest.mark.parametrize("name", FILES)
def test_mounted_and_built_paths_exist(name: str) -> None:
    """Every file of the host that a service mounts is in the repository, and the image is built from it."""
    volumes = set(compose.read(name).get("volumes", {}))
    for service in services(name).values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (FILES[name] / source).is_file(), source
            else:
                assert source in volumes
        if "build" in service:
            assert (FILES[name] / service["build"] / "Dockerfile").resolve() == ROOT / "Dockerfile"


def test_every_service_has_a_health_check_and_one_image_serves_all() -> None:
    """Each service is checked by the file, servers by the image; servers and workers run one image, not as root."""
    assert {*compose.SERVERS, *compose.WORKERS} == set(ours("docker-compose.yml"))
    for key, service in services("docker-compose.yml").items():
        assert ("healthcheck" in service) == (key not in compose.SERVERS), key
        for needed, wanted in (
            dict(service["depends_on"]).items() if isinstance(service.get("depends_on"), dict) else ()
        ):
            assert {"condition": "service_healthy"} == wanted, needed
    words = {item.word for item in stages()[-1]}
    assert {"HEALTHCHECK", "USER", "ENTRYPOINT"} <= words
    for service in ours("docker-compose.yml").values():
        assert service["read_only"]
        assert "user" not in service


def test_secrets_are_files_and_nothing_else() -> None:
    """Each secret is a file that the script makes, each service that names one gets it, and none stands in the file."""
    file = compose.read("docker-compose.yml")
    for name, secret in file["secrets"].items():
        assert f"./secrets/{name}" == secret["file"]
    for service in file["services"].values():
        named = set(re.findall(rf"{compose.SECRETS}/(\w+)", json.dumps(service)))
        assert named == set(service.get("secrets", []))
        for key in service.get("environment", {}):
            is_secret = re.search("PASSWORD|SECRET|RECORDS__URL", key)
            assert not is_secret or key.endswith("_FILE"), key
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_secrets_are_made_once_and_kept_from_other_users(tmp_path: Path) -> None:
    """A second run of the script changes nothing; only the owner can enter the directory."""
    directory = compose.secrets_in(tmp_path)
    before = {path.name: path.read_text() for path in directory.iterdir()}
    assert set(compose.read("docker-compose.yml")["secrets"]) == set(before)
    assert all(len(text) >= 48 for text in before.values())
    assert len(set(before.values())) == len(before)
    assert 0o700 == directory.stat().st_mode & 0o777
    assert before == {path.name: path.read_text() for path in compose.secrets_in(tmp_path).iterdir()}


def test_only_nginx_is_trusted_and_only_nginx_and_grafana_are_published() -> None:
    """The address of nginx is outside the range of the others, and ports are published to this machine only."""
    file = compose.read("docker-compose.yml")
    ((network,),) = (found["ipam"]["config"] for found in file["networks"].values())
    address = file["services"]["nginx"]["networks"]["default"]["ipv4_address"]
    assert address == file["services"]["server-1"]["environment"]["TUSD_PY_SERVER__TRUSTED_PROXIES"]
    assert ip_address(address) in ip_network(network["subnet"])
    assert ip_address(address) not in ip_network(network["ip_range"])
    published = {key: service["ports"] for key, service in file["services"].items() if "ports" in service}
    assert {"nginx", "grafana"} == set(published)
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_nginx_has_the_block_of_the_documentation() -> None:
    """The configuration contains what docs/proxies.md says, but for the address and the indentation."""
    text = (ROOT / "docs" / "proxies.md").read_text()
    documented = text.partition("```nginx\n")[2].partition("```")[0].replace("http://127.0.0.1:8080", "http://servers")
    ours = [line.strip() for line in (ROOT / "examples/compose/nginx.conf").read_text().splitlines() if line.strip()]
    wanted = [line.strip() for line in documented.splitlines() if line.strip()]
    at = ours.index(wanted[0])
    assert wanted == ours[at : at + len(wanted)]


def test_prometheus_scrapes_every_server_with_the_name_of_the_rules() -> None:
    """The targets are the servers of the file, the job is that of the alert rules, and Grafana has its data source."""
    directory = ROOT / "examples" / "compose"
    prometheus = yaml.safe_load((directory / "prometheus.yml").read_text())
    (job,) = prometheus["scrape_configs"]
    assert [f"{name}:8080" for name in compose.SERVERS] == job["static_configs"][0]["targets"]
    assert f'job="{job["job_name"]}"' in (ROOT / "docs/monitoring/alerts.yml").read_text()
    mounts = {
        target
        for service in services("docker-compose.yml").values()
        for target in (volume.split(":")[1] for volume in service.get("volumes", []))
    }
    assert set(prometheus["rule_files"]) <= mounts
    (provider,) = yaml.safe_load((directory / "grafana/dashboards.yml").read_text())["providers"]
    assert any(mount.startswith(provider["options"]["path"] + "/") for mount in mounts)
    (source,) = yaml.safe_load((directory / "grafana/datasource.yml").read_text())["datasources"]
    assert ("prometheus", "http://prometheus:9090") == (source["type"], source["url"])


@dataclass
class ProxiedUpload(PatientUpload):
    """A client that tries again after 423 and 503, by which nginx says that a server has gone."""

    async def _step(self) -> bool:
        try:
            return await super()._step()
        except AssertionError:
            if self.statuses[-1] not in (423, 503):
                raise
            return False


def ready(receiver: Receiver) -> list[str]:
    """The ids of the uploads whose ``upload.ready`` was delivered."""
    return [call.payload["upload"]["id"] for call in receiver.calls if call.hook == "upload.ready"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def topology(tmp_path: Path, receiver: Receiver) -> Iterator[Topology]:
    """The services of ``docker-compose.yml``; the only other setting is a webhook."""
    endpoints = json.dumps([{"name": "all", "url": receiver.url, "allow_private": True}])
    with compose.running_topology(tmp_path, {"TUSD_PY_WEBHOOKS__ENDPOINTS": endpoints}) as running:
        yield running


async def upload_while_processes_die(topology: Topology, pieces: list[memoryview]) -> list[ProxiedUpload]:
    """Kill a server and a worker during the uploads; the server is started again, the worker is not."""
    uploads = [ProxiedUpload(topology.endpoint, piece, rate=3 * MIB, answer_seconds=30) for piece in pieces]
    async with asyncio.TaskGroup() as group:
        for upload in uploads:
            group.create_task(upload.run())
        await asyncio.sleep(2)
        killed = topology.servers["server-1"]
        killed.kill()
        topology.workers["worker-1"].kill()
        await asyncio.sleep(1)
        await asyncio.to_thread(topology.start_server, "server-1", killed.port)
    return uploads


@pytest.mark.long
@pytest.mark.timeout(300)
def test_topology_as_local_processes(topology: Topology, receiver: Receiver) -> None:
    """Uploads through nginx end right and are announced, although a server and a worker are killed with -9."""
    pieces = [content(number, 11 * MIB + number) for number in range(6)]
    uploads = asyncio.run(upload_while_processes_die(topology, pieces))
    for upload, piece in zip(uploads, pieces, strict=True):
        assert upload.url is not None
        assert upload.url.startswith(topology.endpoint), "Location has the address of nginx"
        status, _, body = request("GET", upload.url)
        assert (200, hashlib.sha256(piece).hexdigest()) == (status, hashlib.sha256(body).hexdigest())
    # nginx answers so for a server that is away.
    assert any(upload.broken or {423, 503} & set(upload.statuses) for upload in uploads)
    ids = {str(upload.url).rpartition("/")[2] for upload in uploads}
    until_now(lambda: ids <= set(ready(receiver)), "every upload is announced", 60)


@pytest.mark.long
@pytest.mark.timeout(120)
def test_what_the_topology_serves(topology: Topology, tmp_path: Path) -> None:
    """The largest metadata passes nginx, metrics and the API do not; the health check of a worker succeeds."""
    metadata = "filename " + "QUFB" * ((8192 - len("filename ")) // 4)
    status, headers, _ = request("POST", topology.endpoint, {**TUS, "Upload-Length": "3", "Upload-Metadata": metadata})
    assert 201 == status
    assert metadata == request("HEAD", headers["location"], dict(TUS))[1]["upload-metadata"]

    root = topology.endpoint.removesuffix("files/")
    statuses = {path: request("GET", root + path)[0] for path in ("", "healthz", "readyz", "metrics", "api/jobs")}
    assert {"": 200, "healthz": 200, "readyz": 200, "metrics": 404, "api/jobs": 404} == statuses
    for server in topology.servers.values():
        assert 200 == request("GET", server.root + "/metrics")[0]

    (_, *check) = topology.compose["services"]["worker-2"]["healthcheck"]["test"]
    code = topology.run("worker-2", *check).wait(30)
    assert 0 == code, (tmp_path / "worker-2.log").read_text()[-3000:]
    secrets = [path.read_text() for path in (tmp_path / "secrets").iterdir()]
    logs = {path.name: path.read_text() for path in tmp_path.glob("*.log")}
    assert {"server-1.log", "worker-2.log", "s3.log"} <= set(logs)
    assert not [name for name, text in logs.items() for secret in secrets if secret in text]
