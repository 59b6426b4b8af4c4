"""Runs nginx with the configuration of ``examples/compose`` in front of several servers."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.image import ROOT
from tests.support.ports import free_port
from tests.support.proxies import PROXIES
from tests.support.stored import request
from tests.support.waiting import until_now


@contextmanager
def running_balancer(directory: Path, ports: Sequence[int]) -> Iterator[str]:
    """Send each request to the next of the servers on ``ports``; yield the tus endpoint."""
    site = (ROOT / "examples/compose/nginx.conf").read_text()
    servers = "".join(rf"    server 127.0.0.1:{port}\2;\n" for port in ports)
    site, count = re.subn(r"(    server server-\d:8080( [^;]*);\n)+", lambda found: found.expand(servers), site)
    assert 1 == count
    port = free_port()
    with running_nginx(directory, site, port):
        yield f"http://127.0.0.1:{port}/files/"


@contextmanager
def running_nginx(directory: Path, site: str, port: int) -> Iterator[None]:
    """Run nginx with this configuration of a site, which listens on 80, with its files in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "site.conf").write_text(site.replace("listen 80;", f"listen 127.0.0.1:{port};"))
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{name}_temp_path {directory}/{name};\n" for name in names)
    (directory / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {directory}/pid;\nerror_log {directory}/error.log;\n"
        f"events {{ worker_connections 4096; }}\n"
        f"http {{\naccess_log {directory}/access.log;\n{places}include {directory}/site.conf;\n}}\n"
    )
    command = [PROXIES["nginx"].find(), "-e", f"{directory}/error.log", "-c", f"{directory}/nginx.conf"]
    with (directory / "output.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=directory, env=dict(os.environ), stdout=log, stderr=log)
    try:
        until_now(lambda: _answers(f"http://127.0.0.1:{port}/healthz"), "nginx serves")
        yield
    finally:
        process.kill()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return request("GET", url)[0] == 200
    except OSError:
        return False
