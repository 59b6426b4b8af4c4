"""The command line: ``tusd-py serve | worker | check | config | migrate | sweep | jobs | events``.

Whatever the operator must fix is told in sentences.

Exit codes: 0 done or stopped, 1 stopped by force, 2 for what the operator must fix.
"""

from __future__ import annotations

import asyncio
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from tusd_py.commands import events, jobs
from tusd_py.commands.check import check, differs, shown
from tusd_py.commands.config import print_config
from tusd_py.commands.console import Config, DataDir, fail, flags_of, say, settings_of
from tusd_py.commands.live import Live, check_live
from tusd_py.commands.serve import StartupError, become_worker, claim, prepare, reason, serve
from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.store import StoreError
from tusd_py.settings import find_config, read
from tusd_py.wiring import migrate_records, sweep_once

app = typer.Typer(
    name="tusd-py",
    help="A resumable-upload server: tus 1.0 with every extension. Settings: flags, TUSD_PY_SECTION__KEY, config.toml.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Host = Annotated[str | None, typer.Option("--host", help="The address to listen on. [127.0.0.1]")]
Port = Annotated[str | None, typer.Option("--port", help="The TCP port; 0 takes a free one. [8080]")]
UnixSocket = Annotated[str | None, typer.Option("--unix-socket", help="Listen on this unix socket instead.")]
Workers = Annotated[str | None, typer.Option("--workers", help="Processes that serve. [1]")]
BasePath = Annotated[str | None, typer.Option("--base-path", help="The path of the tus endpoint. [/files/]")]
PublicUrl = Annotated[str | None, typer.Option("--public-url", help="The endpoint's URL as clients see it.")]
TlsCertificate = Annotated[str | None, typer.Option("--tls-certificate", help="The certificate chain (PEM).")]
TlsKey = Annotated[str | None, typer.Option("--tls-key", help="The certificate's private key (PEM).")]
LogFormat = Annotated[str | None, typer.Option("--log-format", help="text, json or auto. [auto]")]
NoWorker = Annotated[bool, typer.Option("--no-worker", help="Start no worker: tusd-py worker runs elsewhere.")]
LogLevel = Annotated[str | None, typer.Option("--log-level", help="debug, info, warning or error. [info]")]


app.add_typer(jobs.app, name="jobs")
app.add_typer(events.app, name="events")
app.command("config")(print_config)


def main() -> None:
    """The entry point of the program."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(0)


@app.callback(invoke_without_command=True)
def _program(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if show_version:
        typer.echo(f"tusd-py {version('tusd-py')}")
        raise typer.Exit


@app.command("serve")
def serve_command(
    config: Config = None,
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
    unix_socket: UnixSocket = None,
    workers: Workers = None,
    base_path: BasePath = None,
    public_url: PublicUrl = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    no_worker: NoWorker = False,
) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends at once."""
    settings = settings_of(
        config,
        {
            "server.host": host,
            "server.port": port,
            "server.unix_socket": unix_socket,
            "server.workers": workers,
            "server.base_path": base_path,
            "server.public_url": public_url,
            "server.tls_certificate": tls_certificate,
            "server.tls_key": tls_key,
            "storage.data_dir": data_dir,
            "log.format": log_format,
            "log.level": log_level,
            "worker.mode": "separate" if no_worker else None,
        },
    )
    try:
        code = serve(settings, os.environ, say)
    except StartupError as error:
        fail([str(error)])
    sys.exit(code)


@app.command()
def worker(
    config: Config = None, data_dir: DataDir = None, log_format: LogFormat = None, log_level: LogLevel = None
) -> None:
    """Do what follows from uploads, beside a server with worker.mode = "separate"; any number of workers may run."""
    settings = settings_of(config, {"storage.data_dir": data_dir, "log.format": log_format, "log.level": log_level})
    try:
        become_worker(settings)
    except StartupError as error:
        fail([str(error)])


@app.command("check")
def check_command(
    config: Config = None, data_dir: DataDir = None, host: Host = None, port: Port = None, live: Live = False
) -> None:
    """Tell what is configured and what is missing; exits with 2 if anything is NOT OK. Changes nothing."""
    if live:
        check_live(config, {"server.host": host, "server.port": port, "storage.data_dir": data_dir})
    flags = flags_of({"server.host": host, "server.port": port, "storage.data_dir": data_dir})
    file = find_config(config, os.environ, Path())
    settings = settings_of(config, {"server.host": host, "server.port": port, "storage.data_dir": data_dir})
    say(f"configuration  {file or 'no file; defaults, environment and flags only'}")
    for name, given in sorted(read(file, os.environ, flags).items()):
        if differs(settings, name):
            say(f"  {name} = {shown(settings, name)}  ({given.origin})")
    findings = check(settings, os.environ)
    for finding in findings:
        say(f"{'ok' if finding.is_good else 'NOT OK':<6}  {finding.sentence}")
    if not all(finding.is_good for finding in findings):
        sys.exit(2)


@app.command()
def migrate(config: Config = None, data_dir: DataDir = None) -> None:
    """Bring the database up to date; serve does so by itself when it starts."""
    settings = settings_of(config, {"storage.data_dir": data_dir})
    if settings.database_path is None:
        fail(['records.url is "memory": there is no database to migrate'])
    try:
        if settings.storage.kind == "disk":
            claim(Path(settings.storage.data_dir))
        steps = migrate_records(settings)
    except StartupError as error:
        fail([str(error)])
    except (OSError, RecordsError) as error:
        fail([reason(error)])
    for step in steps:
        say(f"applied  {step}")
    say(f"{settings.database_path} is up to date")


@app.command()
def sweep(config: Config = None, data_dir: DataDir = None) -> None:
    """Remove what has expired, once; the server does so by itself while it runs."""
    settings = settings_of(config, {"storage.data_dir": data_dir})
    if settings.storage.kind == "memory" or settings.database_path is None:
        fail(["uploads are kept in memory: only the server that has them can sweep them"])
    try:
        prepare(settings)
        swept = asyncio.run(sweep_once(settings))
    except StartupError as error:
        fail([str(error)])
    except (OSError, RecordsError, StoreError) as error:
        fail([reason(error)])
    say(f"expired {swept.expired}, forgotten {swept.pruned}, left alone because in use {swept.skipped}")
