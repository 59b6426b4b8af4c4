"""Checks of the address that the server listens on, and of TLS."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tusd_py.commands.checks.result import Check, warning
from tusd_py.serving.listeners import ListenError, listen, tls_context
from tusd_py.serving.probe import NotHealthy, probe
from tusd_py.settings import Settings
from tusd_py.wiring.databases import is_records_in_use

_DATABASE_SECONDS = 1.0


def check_tls(settings: Settings) -> Iterator[Check]:
    """Whether the certificate works; a warning of plain HTTP that other machines reach."""
    try:
        tls = tls_context(settings.server)
    except ListenError as error:
        yield Check(False, str(error))
        return
    if tls:
        yield Check(True, "HTTPS with TLS 1.2 or newer")
    elif _is_local(settings) or settings.server.public_url or settings.server.trusted_proxies:
        yield Check(True, "plain HTTP: use it locally, or behind a TLS proxy")
    else:
        yield warning("plain HTTP on an address that other machines reach: configure TLS, or put a TLS proxy in front")


def check_address(settings: Settings, environ: Mapping[str, str]) -> Iterator[Check]:
    """Whether the address is free, or the server of these settings is what uses it."""
    if settings.server.systemd_socket:
        yield Check(True, "systemd will pass the socket")
        return
    try:
        listeners = listen(settings.server, environ, os.getpid())
    except ListenError as error:
        yield _own_server(settings) or Check(False, str(error))
        return
    listeners.close()
    address = settings.server.unix_socket or f"{settings.server.host} port {settings.server.port}"
    yield Check(True, f"{address} is free to listen on")


def _own_server(settings: Settings) -> Check | None:
    """Whether the server of these settings holds the address: it is healthy, and its database is in use."""
    try:
        url = probe(settings.server)
    except NotHealthy:
        return None
    path = settings.database_path
    if path is not None and not _becomes_used(Path(path)):
        return Check(False, f"another server answers at {url}: it does not use the database {path}; change server.port")
    return Check(True, f"the server is running and answers at {url}")


def _becomes_used(path: Path) -> bool:
    """Whether a process has the database open now, or within a second: a server opens it soon after it answers."""
    deadline = time.monotonic() + _DATABASE_SECONDS
    while not (is_used := is_records_in_use(path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return is_used


def _is_local(settings: Settings) -> bool:
    """Whether only processes of this machine reach the server."""
    server = settings.server
    return server.host in ("127.0.0.1", "::1", "localhost") or bool(server.unix_socket) or server.systemd_socket
