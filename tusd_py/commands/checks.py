"""The checks of ``tusd-py check``: whether the server and its worker could start. They change nothing."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from tusd_py.commands.file_ownership import of_other_owners, unwritable
from tusd_py.commands.hook_programs import program_problems
from tusd_py.commands.toml_text import toml_text
from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.contracts.validator import ValidatorUnavailable
from tusd_py.model.text import valid_unicode
from tusd_py.model.tls import tls_problem
from tusd_py.service import page_options
from tusd_py.serving.listeners import ListenError, listen, tls_context
from tusd_py.serving.probe import NotHealthy, probe
from tusd_py.settings import Settings, describe_database, without_credentials
from tusd_py.settings.loading import is_confidential
from tusd_py.wiring.authenticators import (
    allowed_algorithms,
    authenticator,
    has_authorize_hook,
    open_to_everyone,
    tokens_without_key,
)
from tusd_py.wiring.data_directory import exposed_data
from tusd_py.wiring.databases import is_records_in_use, pending_migrations, records_damage, try_records
from tusd_py.wiring.hooks import is_private_literal
from tusd_py.wiring.jobs import has_backups, needs_worker, subscriptions
from tusd_py.wiring.processing import ensure_libmagic, try_publishing
from tusd_py.wiring.stores import describe_bucket, try_bucket_publishing, try_store

#: With less free space the disk store refuses every upload.
_FREE_BYTES_MIN = 4 * 1024**2
_FREE_BYTES_WARNING = 1024**3
_REDIS_SECONDS = 1.0
_DATABASE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. A warning is ``ok``: the server and its worker start all the same."""

    ok: bool
    sentence: str
    is_warning: bool = False

    @property
    def label(self) -> str:
        return ("WARN" if self.is_warning else "ok") if self.ok else "NOT OK"


def warning(sentence: str) -> Check:
    """A check that passed, with advice for the operator."""
    return Check(True, sentence, is_warning=True)


def run_checks(settings: Settings, environ: Mapping[str, str]) -> list[Check]:
    """Check everything that the server and its worker need, and return all results."""
    return [
        *_data_dir(settings),
        *_bucket(settings),
        *_database(settings),
        *(warning(sentence) for sentence in exposed_data(settings)),
        *_hooks(settings),
        *_worker(settings),
        *_redis(settings),
        *_steps(settings),
        *_tls(settings),
        *_address(settings, environ),
        *_advice(settings),
    ]


def differs(settings: Settings, name: str) -> bool:
    """Whether the setting has another value than its default."""
    return value_of(settings, name) != value_of(Settings(), name)


def as_text(settings: Settings, name: str) -> str:
    """The setting's value as an operator writes it in the file, without passwords."""
    value = value_of(settings, name)
    return '"..."' if value and is_confidential(name) else toml_text(value)


def value_of(settings: Settings, name: str) -> object:
    """The value of ``section.key``."""
    section, _, key = name.partition(".")
    value: object = getattr(getattr(settings, section), key)
    return value


def _data_dir(settings: Settings) -> Iterator[Check]:
    if settings.storage.kind == "memory":
        yield warning("uploads are stored in memory and lost when the server stops")
        return
    data_dir = Path(settings.storage.data_dir)
    existing = _existing(data_dir)
    if not _is_writable(existing):
        yield Check(False, f"storage.data_dir {data_dir} cannot be written to: {existing} is not a writable directory")
        return
    state = "exists" if data_dir.exists() else "will be created"
    problems = list(unwritable(data_dir))
    yield from (Check(False, problem) for problem in problems)
    if not problems:
        yield Check(True, f"the data directory {data_dir} {state}")
    yield from map(warning, of_other_owners(settings))
    path = str(data_dir.absolute())
    if valid_unicode(path) != path:
        yield warning(f"{path} is not UTF-8: in the JSON of hooks its bytes that are not become U+FFFD")
    # With S3 only records and locks are here, and no upload takes space.
    if settings.storage.kind == "disk":
        yield _free_space(settings, data_dir, shutil.disk_usage(existing).free)


def _bucket(settings: Settings) -> Iterator[Check]:
    if settings.storage.kind != "s3":
        return
    try:
        failure, lacking = try_store(settings)
    except StoreUnavailable as error:
        yield Check(False, str(error))
        return
    bucket = describe_bucket(settings)
    yield Check(False, f"{bucket}: {failure}") if failure else Check(True, f"{bucket} can be written to")
    for each in lacking:
        yield warning(f"{bucket}: {each}")


def _free_space(settings: Settings, data_dir: Path, free: int) -> Check:
    length_max = settings.uploads.length_max
    free_text = f"{free / 1024**3:.1f} GiB are free in {data_dir}"
    if free < _FREE_BYTES_MIN:
        return Check(False, f"{free_text}: every upload would be answered 507; free some space")
    if free < length_max:
        return warning(f"{free_text}, less than one upload of uploads.length_max: clients get 507 when it is full")
    if free < _FREE_BYTES_WARNING:
        return warning(f"{free_text}, which is little: clients get 507 when it is full")
    return Check(True, free_text)


def _existing(directory: Path) -> Path:
    """The directory, or the nearest parent that exists."""
    return next(folder for folder in (directory, *directory.absolute().parents) if folder.exists())


def _is_writable(directory: Path) -> bool:
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)


def _database(settings: Settings) -> Iterator[Check]:
    if not settings.has_database:
        yield warning("records are stored in memory and lost when the server stops")
        return
    database = describe_database(settings)
    try:
        steps = pending_migrations(settings)
        try_records(settings)
        path = settings.database_path
        damage = records_damage(Path(path)) if path is not None and Path(path).exists() else ""
    except (OSError, RecordsError) as error:
        yield Check(False, f"the database {database}: {error}")
        return
    if damage:
        yield Check(False, f"the database {database} is damaged ({damage}): restore it from a backup")
    elif steps:
        yield Check(True, f"the database {database} will be migrated when the server starts")
    else:
        yield Check(True, f"the database {database} is up to date")


def _hooks(settings: Settings) -> Iterator[Check]:
    hooks = settings.hooks
    if hooks.executables_dir:
        exists = Path(hooks.executables_dir).is_dir()
        state = "exists" if exists else "does not exist: create it, or change hooks.executables_dir"
        yield Check(exists, f"the hooks directory {hooks.executables_dir} {state}")
    yield from map(warning, program_problems(settings))
    if not hooks.enabled_events and (hooks.executables_dir or hooks.http_urls):
        yield warning("hooks.enabled_events is empty: no hook is invoked")
    if hooks.http_skip_verify:
        yield warning("hooks.http_skip_verify is true: hooks are not protected against an attacker on the network")


def _worker(settings: Settings) -> Iterator[Check]:
    if not needs_worker(settings):
        off = "webhooks, post- hooks, validation, publishing, quotas and the schedule of backups"
        yield Check(True, f"no worker is needed: {off} are off")
        return
    tasks = ", ".join([*settings.steps, *_deliveries(settings), *_backups(settings)])
    if settings.worker.mode == "embedded":
        yield Check(True, f"the server will start a worker for {tasks}")
    else:
        yield Check(True, f'worker.mode is "separate": run tusd-py worker beside the server, for {tasks}')
    endpoints = settings.webhooks.endpoints
    if endpoints:
        unsigned = sum(not endpoint.secrets for endpoint in endpoints)
        sentence = f"webhook endpoints: {len(endpoints)}, of which {unsigned or 'none'} without a secret"
        yield warning(sentence) if unsigned else Check(True, sentence)
    for endpoint in endpoints:
        if not endpoint.allow_private and is_private_literal(endpoint.url):
            host = urlsplit(endpoint.url).hostname
            yield warning(
                f"webhook {endpoint.name} is never delivered: {host} is not a public address; set allow_private = true "
                "for it if that is intended"
            )


def _deliveries(settings: Settings) -> Iterator[str]:
    webhooks = {endpoint.name for endpoint in settings.webhooks.endpoints}
    for subscription in subscriptions(settings):
        if subscription.actor:
            name = subscription.name
            yield f"webhook {name}" if name in webhooks else f"the post- hooks of {name}"


def _backups(settings: Settings) -> Iterator[str]:
    if has_backups(settings):
        yield "the schedule of backups"


def _redis(settings: Settings) -> Iterator[Check]:
    for url in dict.fromkeys((settings.redis.url, settings.broker_url)):
        if url not in ("", "embedded"):
            yield _redis_at(url, "redis.url" if url == settings.redis.url else "worker.broker")


def _redis_at(url: str, setting: str) -> Check:
    parts = urlsplit(url)
    # Only the host and port, or the path of a socket: a URL may contain passwords in several places.
    name = unquote(parts.path) if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]
    problem = _missing_file(url) or _ping_redis(url)
    if problem is None:
        return Check(True, f"Redis at {name} answers and can be written to")
    return Check(False, f"Redis at {name} cannot be used ({problem}): start it, or change {setting}")


def _missing_file(url: str) -> str | None:
    """What is wrong with the files that the URL names; the library's own error does not name them."""
    for name, value in parse_qsl(urlsplit(url).query):
        if name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
            try:
                with open(value, "rb"):
                    pass
            except OSError as error:
                return f"{name} in its URL is {value}: {error.strerror}"
    return None


def _ping_redis(url: str) -> str | None:
    """Log in to Redis and write to it, for at most ``_REDIS_SECONDS``; return what failed, ``None`` if all is well."""
    problems = [f"no answer within {_REDIS_SECONDS:g} s"]

    def ping() -> None:
        # Imported here: no other command and no server process needs the library.
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.exceptions import AuthenticationError, RedisError, ResponseError
        from redis.retry import Retry

        try:
            with Redis.from_url(
                url,
                socket_connect_timeout=_REDIS_SECONDS,
                socket_timeout=_REDIS_SECONDS,
                retry=Retry(NoBackoff(), 0),
            ) as client:
                client.ping()
                # A server that cannot write (full disk, a replica) answers too. The key expires at once.
                client.set("tusd-py:check", "", px=1)
        except ResponseError as error:
            problems[0] = f"it refuses to write: {without_credentials(str(error))}"
        except AuthenticationError:
            problems[0] = "it refuses the login: check the password in the URL"
        except (RedisError, OSError, ValueError) as error:  # ValueError: the URL has a port that is not a number
            problems[0] = tls_problem("it", str(error)) or without_credentials(str(error))
        else:
            problems.clear()

    # In a thread: resolving the host name is not bounded by the timeouts of the socket.
    thread = threading.Thread(target=ping, daemon=True)
    thread.start()
    thread.join(_REDIS_SECONDS * 3)
    return problems[0] if problems else None


def _steps(settings: Settings) -> Iterator[Check]:
    rules = settings.validation.rules if settings.validation.enabled or settings.validation.early else ()
    if any(rule.allowed_types or rule.type_agrees for rule in rules):
        try:
            ensure_libmagic()
        except ValidatorUnavailable as error:
            yield Check(False, str(error))
        else:
            yield Check(True, "libmagic is available to detect the types of uploads")
    if settings.publishing.bucket is not None:
        yield _publishing_bucket(settings)
    elif settings.publishing.directory:
        directory = Path(settings.publishing.directory)
        existing = _existing(directory)
        if not _is_writable(existing):
            yield Check(
                False, f"publishing.directory {directory} cannot be written to: {existing} is not a writable directory"
            )
        else:
            yield _placing(directory)


def _publishing_bucket(settings: Settings) -> Check:
    target = settings.publishing.directory
    try:
        failure = try_bucket_publishing(settings)
    except StoreUnavailable as error:
        failure = str(error)
    if failure:
        return Check(False, f"nothing can be published in {target}: {failure}")
    return Check(True, f"uploads are published in {target}")


def _placing(directory: Path) -> Check:
    """Whether files can be published into ``directory``, or into its nearest parent until it exists."""
    state = "is writable" if directory.exists() else "will be created"
    try:
        how = try_publishing(_existing(directory))
    except OSError as error:
        return Check(False, f"nothing can be published in {directory}: {error.strerror}")
    return Check(True, f"the directory of published uploads {directory} {state}: {how}")


def _tls(settings: Settings) -> Iterator[Check]:
    try:
        tls = tls_context(settings.server)
    except ListenError as error:
        yield Check(False, str(error))
        return
    if tls:
        yield Check(True, "HTTPS with TLS 1.2 or newer")
    elif is_local(settings) or settings.server.public_url or settings.server.trusted_proxies:
        yield Check(True, "plain HTTP: use it locally, or behind a TLS proxy")
    else:
        yield warning("plain HTTP on an address that other machines reach: configure TLS, or put a TLS proxy in front")


def _address(settings: Settings, environ: Mapping[str, str]) -> Iterator[Check]:
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


def _advice(settings: Settings) -> Iterator[Check]:
    if settings.uploads.length_max == 0:
        yield warning("uploads.length_max is 0: one upload can fill the disk")
    has_proxy = bool(settings.server.public_url or settings.server.trusted_proxies)
    if settings.server.interim_responses == "always" and has_proxy:
        yield warning(
            'server.interim_responses is "always" behind a proxy: many proxies take an interim response (104) for the '
            'final one; "auto" leaves them out there'
        )
    if everyone := open_to_everyone(settings):
        yield warning(everyone)
    if keyless := tokens_without_key(settings):
        yield warning(keyless)
    accounts = settings.accounts
    has_credentials = settings.jwt.enabled or accounts.enabled or accounts.api_keys
    if settings.access.anonymous == "none" and not has_credentials and not has_authorize_hook(settings):
        yield warning('access.anonymous is "none", and nothing authenticates clients: every request is answered 401')
    if settings.jwt.enabled:
        yield _token_keys(settings)
    if accounts.enabled:
        yield from _accounts(settings)
    if settings.has_page and settings.page.logo:
        yield _logo(settings)


def _logo(settings: Settings) -> Check:
    try:
        page_options(settings)
    except OSError as error:
        return Check(False, str(error))
    return Check(True, f"the logo of the page is {settings.page.logo}")


def _accounts(settings: Settings) -> Iterator[Check]:
    if find_spec("argon2") is None:
        yield Check(False, "accounts.enabled needs the package argon2-cffi: install tusd-py[accounts]")
        return
    yield Check(True, "people can log in with accounts (tusd-py user list)")
    is_local = settings.server.host in ("127.0.0.1", "::1", "localhost")
    has_https = settings.server.tls_certificate or settings.server.public_url.startswith("https:")
    if not is_local and not has_https and not settings.server.trusted_proxies:
        yield warning(
            "people log in over plain HTTP as far as the server knows: set server.public_url or server.trusted_proxies "
            "if a proxy ends TLS, so that cookies are only sent over HTTPS"
        )


def _token_keys(settings: Settings) -> Check:
    try:
        authenticator(settings)
    except OSError as error:
        return Check(False, str(error))
    return Check(True, f"tokens (JWT) are accepted with {', '.join(allowed_algorithms(settings.jwt))}")


def is_local(settings: Settings) -> bool:
    """Whether only processes of this machine reach the server."""
    server = settings.server
    return server.host in ("127.0.0.1", "::1", "localhost") or bool(server.unix_socket) or server.systemd_socket
