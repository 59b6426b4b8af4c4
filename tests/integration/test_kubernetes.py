"""The Kubernetes manifests are valid, what they name exists, and a running server answers their probes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.support import compose
from tests.support.image import ROOT, stages
from tests.support.server import RunningServer
from tests.support.stored import request
from tusd_py.settings import Settings, load

DIRECTORY = ROOT / "examples" / "kubernetes"
FILES = sorted(path.name for path in DIRECTORY.glob("*.yaml"))
ADAPTED = {"tusd_connections_open", "tusd_py_jobs_late_seconds"}


def objects() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object with the name of its file, but for the list of files that ``kubectl apply --kustomize`` reads."""
    for name in FILES:
        for found in yaml.safe_load_all((DIRECTORY / name).read_text()):
            if found["kind"] != "Kustomization":
                yield name, found


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    return [found for _, found in objects() if found["kind"] in kinds]


def pods() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each pod with its only container; ``claims`` names the volumes that its workload claims for it."""
    found = []
    for workload in of_kind("Deployment", "StatefulSet"):
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        claims = [claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])]
        found.append(({**workload["spec"]["template"]["spec"], "claims": claims}, container))
    assert 3 == len(found)
    return found


def shared_settings(secrets: Path) -> Settings:
    """The settings of the ConfigMap, with the secrets in this directory."""
    data = of_kind("ConfigMap")[0]["data"]
    return load(None, {key: value.replace("/run/secrets/tusd-py", str(secrets)) for key, value in data.items()})


@pytest.mark.parametrize("name", FILES)
def test_objects_are_valid(name: str) -> None:
    """Every object has the fields that Kubernetes knows, and no others."""
    for found in [found for file, found in objects() if file == name]:
        kubernetes_validate.validate(found, kubernetes_validate.latest_version(), strict=True)


def test_kustomization_has_every_file() -> None:
    """It lists the other files but that of the single server, and its image is that of every container."""
    listed = yaml.safe_load((DIRECTORY / "kustomization.yaml").read_text())
    assert set(FILES) - {"kustomization.yaml", "one-machine.yaml"} == set(listed["resources"])
    assert {"tusd-py"} == {image["name"] for image in listed["images"]}
    assert {"tusd-py"} == {container["image"] for _, container in pods()}


def test_variables_are_the_settings_of_the_compose_file(tmp_path: Path) -> None:
    """All can be loaded; servers and workers share those that ``docker-compose.yml`` has; secrets are files."""
    secrets = compose.secrets_in(tmp_path)
    assert (secrets / "s3_secret_key").read_text() == shared_settings(secrets).s3.secret_key
    data = of_kind("ConfigMap")[0]["data"]
    assert set(compose.read("docker-compose.yml")["x-settings"]) == set(data)
    assert all(key.endswith("_FILE") for key in data if re.search("PASSWORD|SECRET|RECORDS__URL", key))
    for _, container in pods():
        load(None, {variable["name"]: variable["value"] for variable in container.get("env", [])})
    shared = [container["envFrom"] for _, container in pods() if "envFrom" in container]
    assert [[{"configMapRef": {"name": "tusd-py"}}]] * 2 == shared


def test_pods_have_the_user_and_directories_of_the_image() -> None:
    """The user and group are those of the image, volumes belong to it, and only mounted directories are writable."""
    text = " ".join(item.text for item in stages()[-1])
    uid = int(re.findall(r"--uid (\d+)", text)[0])
    for spec, container in pods():
        security = spec["securityContext"]
        assert {uid} == {security[key] for key in ("runAsUser", "runAsGroup", "fsGroup")}
        assert security["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {"/data", "/tmp"} <= mounts
        named = {*(volume["name"] for volume in spec["volumes"]), *spec["claims"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == named
        assert "tusd-py" == container["args"][0]


def test_pods_have_longer_to_stop_than_the_server_takes(tmp_path: Path) -> None:
    """The grace period is the delay before SIGTERM, twice the longest stop by the settings, and ten seconds."""
    settings = shared_settings(compose.secrets_in(tmp_path))
    for spec, container in pods():
        delay = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        takes = max(settings.server.shutdown_timeout_seconds, settings.worker.shutdown_timeout_seconds)
        assert spec["terminationGracePeriodSeconds"] >= delay + 2 * takes + 10


def test_selectors_and_targets_exist() -> None:
    """Each selector finds the labels of a pod, each target and back end is an object, each port has a name."""
    workloads = {found["metadata"]["name"]: found for found in of_kind("Deployment", "StatefulSet")}
    labels = [found["spec"]["template"]["metadata"]["labels"] for found in workloads.values()]
    selectors = [found["spec"]["selector"] for found in of_kind("Service")]
    selectors += [found["spec"]["selector"]["matchLabels"] for found in of_kind("PodDisruptionBudget", "Deployment")]
    selectors += [found["spec"]["podSelector"]["matchLabels"] for found in of_kind("NetworkPolicy")]
    for selector in selectors:
        assert any(selector.items() <= each.items() for each in labels), selector
    for scaler in of_kind("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert target["kind"] == workloads[target["name"]]["kind"]
    services = {found["metadata"]["name"]: found for found in of_kind("Service")}
    for rule in of_kind("Ingress")[0]["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            service = path["backend"]["service"]
            assert service["port"] in [{"name": port["name"]} for port in services[service["name"]]["spec"]["ports"]]


def test_ingress_passes_uploads_and_the_page_only() -> None:
    """The paths are the endpoint and the page; metrics, health checks and the API are not among them."""
    paths = {path["path"] for rule in of_kind("Ingress")[0]["spec"]["rules"] for path in rule["http"]["paths"]}
    assert {"/files", "/page", "/"} == paths
    assert Settings().server.base_path.rstrip("/") in paths


def test_metrics_of_autoscaling_exist_and_probes_are_answered(server: RunningServer) -> None:
    """A running server has every metric that scales it, and answers each probe with 200."""
    used = {
        metric[kind]["metric"]["name"]
        for scaler in of_kind("HorizontalPodAutoscaler")
        for metric in scaler["spec"]["metrics"]
        for kind in ("pods", "object")
        if kind in metric
    }
    assert ADAPTED == used
    exposition = request("GET", server.root + "/metrics")[2].decode()
    assert all(f"# TYPE {name} gauge" in exposition for name in used)
    probes = {
        container[name]["httpGet"]["path"]
        for _, container in pods()
        for name in ("startupProbe", "readinessProbe", "livenessProbe")
        if name in container
    }
    assert {"/healthz": 200, "/readyz": 200} == {path: request("GET", server.root + path)[0] for path in sorted(probes)}
