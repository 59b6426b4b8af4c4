"""``tusd-py serve``: runs the server."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tusd_py.commands.console import (
    Config,
    DataDir,
    Host,
    LogFormat,
    LogLevel,
    Port,
    environ,
    fail,
    settings_of,
    sourced_flags,
)

if TYPE_CHECKING:
    from tusd_py.settings import Settings, Sourced

UnixSocket = Annotated[
    str | None, typer.Option("--unix-socket", metavar="<path>", help="Listen on this unix socket instead.")
]
Processes = Annotated[
    str | None, typer.Option("--processes", metavar="<number>", help="The number of server processes. [1]")
]
# Refused by the settings with the new name.
Workers = Annotated[str | None, typer.Option("--workers", hidden=True)]
BasePath = Annotated[
    str | None, typer.Option("--base-path", metavar="<path>", help="The path of the tus endpoint. [/files/]")
]
PublicUrl = Annotated[
    str | None, typer.Option("--public-url", metavar="<url>", help="The endpoint's URL as clients see it.")
]
TlsCertificate = Annotated[
    str | None, typer.Option("--tls-certificate", metavar="<file>", help="The certificate chain (PEM).")
]
TlsKey = Annotated[str | None, typer.Option("--tls-key", metavar="<file>", help="The certificate's private key (PEM).")]
NoWorker = Annotated[bool, typer.Option("--no-worker", help="Start no worker; run tusd-py worker separately.")]


def serve(
    config: Config = None,
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
    unix_socket: UnixSocket = None,
    processes: Processes = None,
    workers: Workers = None,
    base_path: BasePath = None,
    public_url: PublicUrl = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    no_worker: NoWorker = False,
) -> None:
    """Run the server until SIGTERM or SIGINT.

    A second signal stops it at once.
    """
    from tusd_py.commands.output import announce
    from tusd_py.commands.server import run
    from tusd_py.commands.startup import StartupError

    values = {
        "server.host": host,
        "server.port": port,
        "server.unix_socket": unix_socket,
        "server.processes": processes,
        "server.workers": workers,
        "server.base_path": base_path,
        "server.public_url": public_url,
        "server.tls_certificate": tls_certificate,
        "server.tls_key": tls_key,
        "storage.data_dir": data_dir,
        "log.format": log_format,
        "log.level": log_level,
        "worker.mode": "separate" if no_worker else None,
    }
    settings = settings_of(config, values)
    flags = sourced_flags(values)
    try:
        code = run(settings, environ, announce, partial(_load_again, config, flags))
    except StartupError as error:
        fail([str(error)])
    sys.exit(code)


def _load_again(config: Path | None, flags: dict[str, Sourced]) -> Settings:
    """The settings from the same sources as at the start, as they are now. Raises ``SettingsError``."""
    from tusd_py.settings import find_config, load

    return load(find_config(config, environ, Path()), environ, flags)
