"""Whether serving with these settings would work, found out without changing anything, in sentences."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tusd_py.contracts.records import RecordsError
from tusd_py.serving.listening import CannotListen, listen, tls_context
from tusd_py.settings import Settings, without_credentials
from tusd_py.wiring import pending_steps

_ROOM_WORTH_A_WARNING_BYTES = 1024**3


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
    existing = next(folder for folder in (data_dir, *data_dir.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        yield Finding(False, f"storage.data_dir {data_dir} cannot be written to ({existing} is in the way)")
        return
    free = shutil.disk_usage(existing).free
    state = "is there" if data_dir.exists() else "will be made"
    yield Finding(free >= 0, f"the data directory {data_dir} {state}; {free / 1024**3:.1f} GiB are free")
    if free < _ROOM_WORTH_A_WARNING_BYTES:
        yield Finding(True, f"there is little room: clients are answered 507 when {data_dir} is full")


def _records(settings: Settings) -> Iterator[Finding]:
    if settings.database_path is None:
        yield Finding(True, "records are kept in memory and gone when the server stops")
        return
    try:
        steps = pending_steps(settings)
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
