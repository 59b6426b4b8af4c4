"""Whether serving with these settings would work, found out without changing anything, in sentences."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.validator import ValidatorUnavailable
from tusd_py.serving.listeners import CannotListen, listen, tls_context
from tusd_py.settings import Settings, without_credentials
from tusd_py.wiring import look_for_libmagic, needs_worker, pending_migrations, subscriptions

_ROOM_WORTH_A_WARNING_BYTES = 1024**3
_REDIS_SECONDS = 1.0
_REDIS_PORT = 6379


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    is_good: bool
    sentence: str


def check(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """Everything that serving needs, each with how it is."""
    return [
        *_data(settings),
        *_records(settings),
        *_hooks(settings),
        *_worker(settings),
        *_broker(settings),
        *_steps(settings),
        *_tls(settings),
        *_address(settings, environ),
        *_advice(settings),
    ]


def differs(settings: Settings, name: str) -> bool:
    """Whether the setting has another value than its default."""
    return value_of(settings, name) != value_of(Settings(), name)


def shown(settings: Settings, name: str) -> str:
    """The setting's value as an operator would write it."""
    value = value_of(settings, name)
    if isinstance(value, tuple):
        text = ", ".join(map(str, value)) or "nothing"
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
    return without_credentials(text)


def value_of(settings: Settings, name: str) -> object:
    """The value of ``section.key``."""
    section, _, key = name.partition(".")
    value: object = getattr(getattr(settings, section), key)
    return value


def _data(settings: Settings) -> Iterator[Finding]:
    if settings.storage.kind == "memory":
        yield Finding(True, "bytes are kept in memory and gone when the server stops")
        return
    data_dir = Path(settings.storage.data_dir)
    existing = _existing(data_dir)
    if not _is_writable(existing):
        yield Finding(False, f"storage.data_dir {data_dir} cannot be written to ({existing} is in the way)")
        return
    free = shutil.disk_usage(existing).free
    state = "is there" if data_dir.exists() else "will be made"
    yield Finding(free >= 0, f"the data directory {data_dir} {state}; {free / 1024**3:.1f} GiB are free")
    if free < _ROOM_WORTH_A_WARNING_BYTES:
        yield Finding(True, f"there is little room: clients are answered 507 when {data_dir} is full")


def _existing(directory: Path) -> Path:
    """The directory, or where it would be made."""
    return next(folder for folder in (directory, *directory.absolute().parents) if folder.exists())


def _is_writable(directory: Path) -> bool:
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)


def _records(settings: Settings) -> Iterator[Finding]:
    if settings.database_path is None:
        yield Finding(True, "records are kept in memory and gone when the server stops")
        return
    try:
        steps = pending_migrations(settings)
    except (OSError, RecordsError) as error:
        yield Finding(False, f"the database {settings.database_path}: {error}")
        return
    if steps:
        yield Finding(True, f"the database {settings.database_path} will be brought up to date when serving starts")
    else:
        yield Finding(True, f"the database {settings.database_path} is up to date")


def _hooks(settings: Settings) -> Iterator[Finding]:
    hooks = settings.hooks
    if hooks.executables_dir:
        is_there = Path(hooks.executables_dir).is_dir()
        state = "is there" if is_there else "is missing: make it, or set hooks.executables_dir to another"
        yield Finding(is_there, f"the directory of hooks {hooks.executables_dir} {state}")
    if not hooks.enabled_events and (hooks.executables_dir or hooks.http_urls):
        yield Finding(True, "hooks.enabled_events is empty: no hook is asked")
    if hooks.http_skip_verify:
        yield Finding(True, "hooks.http_skip_verify is true: anybody on the way to a hook can answer for it")


def _worker(settings: Settings) -> Iterator[Finding]:
    if not needs_worker(settings):
        yield Finding(True, "no worker is needed: nothing has to be done for uploads, and nobody is told of them")
        return
    told = [f"telling {subscription.name}" for subscription in subscriptions(settings) if subscription.actor]
    why = ", ".join([*settings.steps, *told])
    if settings.worker.mode == "embedded":
        yield Finding(True, f"a worker will be started with the server, for {why}")
    else:
        yield Finding(True, f'worker.mode is "separate": tusd-py worker must be started beside the server, for {why}')
    endpoints = settings.webhooks.endpoints
    if endpoints:
        unsigned = sum(not endpoint.secrets for endpoint in endpoints)
        yield Finding(True, f"webhook endpoints: {len(endpoints)}, of which {unsigned or 'none'} without a secret")


def _broker(settings: Settings) -> Iterator[Finding]:
    url = settings.worker.broker
    if url == "embedded":
        return
    parts = urlsplit(url)
    # Put together from its parts: a password may stand elsewhere in a URL than before the host.
    shown_as = unquote(parts.path) if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]
    answers: list[bytes] = []
    trouble: list[str] = []

    def ask() -> None:
        try:
            answers.append(_ping(url))
        except (OSError, ValueError) as error:  # a port that is no number is a ValueError
            trouble.append(str(error))

    # In a thread: looking up a name can take longer than any timeout of a socket.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_REDIS_SECONDS)
    # "-NOAUTH" and the like are answers too; no password is sent only to find out whether anybody is there.
    if answers and answers[0][:1] in (b"+", b"-"):
        yield Finding(True, f"Redis at {shown_as} answers")
    else:
        why = trouble[0] if trouble else "what answers is no Redis" if answers else f"not within {_REDIS_SECONDS:g} s"
        yield Finding(False, f"Redis at {shown_as} does not answer ({why}): start it, or change worker.broker")


def _ping(url: str) -> bytes:
    """The beginning of what a Redis answers. Raises ``OSError``, or ``ValueError`` for a URL that leads nowhere."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_REDIS_SECONDS)
        with connection:
            connection.connect(unquote(parts.path))
            return _asked(connection)
    address = (parts.hostname or "", parts.port or _REDIS_PORT)
    with socket.create_connection(address, timeout=_REDIS_SECONDS) as connection:
        if parts.scheme != "rediss":
            return _asked(connection)
        context = ssl.create_default_context()
        # Nothing secret is sent or believed here; the worker itself looks at the certificate as the URL says.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(connection, server_hostname=address[0]) as secured:
            return _asked(secured)


def _asked(connection: socket.socket) -> bytes:
    connection.sendall(b"PING\r\n")
    return connection.recv(64)


def _steps(settings: Settings) -> Iterator[Finding]:
    rules = settings.validation.rules if settings.validation.enabled or settings.validation.early else ()
    if any(rule.allowed_types or rule.type_agrees for rule in rules):
        try:
            look_for_libmagic()
        except ValidatorUnavailable as error:
            yield Finding(False, str(error))
        else:
            yield Finding(True, "libmagic is there to tell the types of uploads")
    if settings.publishing.directory:
        directory = Path(settings.publishing.directory)
        existing = _existing(directory)
        if not _is_writable(existing):
            yield Finding(False, f"publishing.directory {directory} cannot be written to ({existing} is in the way)")
        else:
            state = "can be written to" if directory.exists() else "will be made"
            yield Finding(True, f"the directory of published uploads {directory} {state}")


def _tls(settings: Settings) -> Iterator[Finding]:
    try:
        tls = tls_context(settings.server)
    except CannotListen as error:
        yield Finding(False, str(error))
        return
    yield Finding(True, "HTTPS, with TLS 1.2 or newer" if tls else "plain HTTP; put TLS in front of it on a network")


def _address(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    if settings.server.systemd_socket:
        yield Finding(True, "systemd will hand over the socket")
        return
    try:
        listening = listen(settings.server, environ, os.getpid())
    except CannotListen as error:
        yield Finding(False, str(error))
        return
    listening.close()
    yield Finding(True, f"{settings.server.unix_socket or listening_on(settings)} is free to listen on")


def listening_on(settings: Settings) -> str:
    """The address of the settings, as it is written in them."""
    return f"{settings.server.host} port {settings.server.port}"


def _advice(settings: Settings) -> Iterator[Finding]:
    if settings.uploads.length_max == 0:
        yield Finding(True, "uploads.length_max is 0: one upload may fill the disk")
    hooks = settings.hooks
    is_guarded = "authorize" in hooks.enabled_events and bool(hooks.http_urls or hooks.executables_dir)
    is_local = settings.server.host in ("127.0.0.1", "::1", "localhost") or bool(settings.server.unix_socket)
    if not is_local and not is_guarded:
        yield Finding(True, "everybody who reaches this address may upload: there are no accounts, and nobody is asked")
