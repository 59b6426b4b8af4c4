"""Every setting with its default, in frozen sections. ``config.toml`` explains each one to operators.

Add a new setting here, to ``config.toml``, to ``docs/settings.md`` and to the code that reads it, in one commit: tests
compare the four.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Annotated, Literal
from urllib.parse import unquote

from pydantic import Field

from tusd_py.model.steps import STEPS
from tusd_py.settings.access import (
    AccessSettings,
    AccountsSettings,
    CodesSettings,
    JwtSettings,
    LinksSettings,
    QuotasSettings,
    RatesSettings,
)
from tusd_py.settings.audit import AuditSettings
from tusd_py.settings.endpoints import WebhooksSettings
from tusd_py.settings.object_store import S3Settings
from tusd_py.settings.page import PageSettings
from tusd_py.settings.processing import PublishingSettings, ValidationSettings
from tusd_py.settings.schedules import SchedulesSettings
from tusd_py.settings.values import (
    BasePath,
    Bool,
    Broker,
    Count,
    CountOrNone,
    Directory,
    Expects,
    FileMode,
    ForwardedNames,
    HeaderNames,
    HookNames,
    Hosts,
    MediaTypes,
    Networks,
    Origins,
    PagePath,
    Port,
    PositiveSeconds,
    PositiveSize,
    PublicUrl,
    RedisUrl,
    Seconds,
    Section,
    Size,
    Text,
    Urls,
    WholeSeconds,
)

_SQLITE = "sqlite:///"
_POSTGRESQL = ("postgresql://", "postgresql+psycopg://", "postgres://")

#: Whether to use what proxies may break; "auto" is whenever no proxy shows.
AutoUse = Annotated[Literal["auto", "always", "never"], Expects('"auto", "always" or "never"')]


class ServerSettings(Section):
    """Sockets, TLS, HTTP limits and the number of server processes."""

    host: Text = "127.0.0.1"
    port: Port = 8080
    unix_socket: Text = ""
    systemd_socket: Bool = False
    processes: Count = 1
    base_path: BasePath = "/files/"
    public_url: PublicUrl = ""
    download_url: PublicUrl = ""
    download_redirect: Bool = True
    trusted_proxies: Networks = ()
    forwarded_headers: Annotated[Literal["x-forwarded", "forwarded"], Expects('"x-forwarded" or "forwarded"')] = (
        "x-forwarded"
    )
    location: Annotated[Literal["auto", "path", "absolute"], Expects('"auto", "path" or "absolute"')] = "auto"
    interim_responses: AutoUse = "auto"
    checksum_trailers: AutoUse = "auto"
    refusal_read_bytes_max: Size = 0
    page: Bool = True
    tls_certificate: Text = ""
    tls_key: Text = ""
    keep_alive_seconds: PositiveSeconds = 75
    header_timeout_seconds: PositiveSeconds = 10
    header_bytes_max: PositiveSize = 65536
    send_timeout_seconds: PositiveSeconds = 60
    connections_per_address_max: CountOrNone = 4096
    fast_body: Bool = True
    shutdown_timeout_seconds: PositiveSeconds = 10

    def problems(self) -> Iterator[str]:
        """One sentence for each combination of values that cannot work."""
        if self.unix_socket and self.systemd_socket:
            yield "server.unix_socket and server.systemd_socket are both set: set only one of them"
        if bool(self.tls_certificate) != bool(self.tls_key):
            yield ("server.tls_certificate and server.tls_key must be set together: both for HTTPS, neither for HTTP")


class StorageSettings(Section):
    """Where the bytes of uploads are stored."""

    kind: Annotated[Literal["disk", "s3", "memory"], Expects('"disk", "s3" or "memory"')] = "disk"
    data_dir: Directory = "./data"
    durability: Annotated[Literal["completion", "power"], Expects('"completion" or "power"')] = "completion"
    file_mode: FileMode = "0640"


class RecordsSettings(Section):
    """Which database holds the records of uploads."""

    url: Text = ""
    listen_url: Text = ""

    def problems(self) -> Iterator[str]:
        """One sentence for each combination of values that cannot work."""
        is_sqlite = self.url.startswith(_SQLITE) and self.url != _SQLITE
        if self.url not in ("", "memory") and not is_sqlite and not self.url.startswith(_POSTGRESQL):
            yield (
                # Only the scheme is repeated: the rest may contain a password.
                f"records.url begins with {self.url.split(':')[0]!r}, which is not supported; use "
                "sqlite:///relative/path, sqlite:////absolute/path, postgresql://user@host/database, "
                '"memory", or leave it empty for tusd.sqlite3 in storage.data_dir'
            )
        if self.listen_url not in ("", "poll") and not self.listen_url.startswith(_POSTGRESQL):
            yield (
                'records.listen_url must be "poll", empty, or the URL of a direct connection to PostgreSQL '
                "(postgresql://user@host/database)"
            )


class RedisSettings(Section):
    """The Redis server for locks and for the broker of the workers."""

    url: RedisUrl = ""


class LockingSettings(Section):
    """How requests for one upload are kept apart."""

    kind: Annotated[Literal["file", "redis", "records"], Expects('"file", "redis" or "records"')] = "file"
    lease_seconds: Annotated[PositiveSeconds, Field(ge=1), Expects("a number of seconds, at least 1")] = 15


class UploadsSettings(Section):
    """What clients may do, and limits for uploads."""

    length_max: Size = 0
    append_bytes_max: Size = 0
    append_bytes_min: Size = 0
    metadata_bytes_max: Size = 8192
    parts_max: Count = 1000
    part_uses_max: Count = 16
    concatenations_per_client_max: Count = 4
    empty_per_client_max: CountOrNone = 10_000
    termination: Bool = True
    concatenation: Bool = True
    concat_hosts: Hosts = ()
    creation_with_upload: Bool = True
    ietf_draft: Bool = True
    downloads: Bool = True
    partial_downloads: Bool = False
    inline_types: MediaTypes = (
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "image/avif",
        "text/plain",
        "video/mp4",
        "video/webm",
        "audio/mpeg",
        "audio/mp4",
        "audio/ogg",
        "audio/wav",
        "audio/webm",
    )
    gone_status: Annotated[Literal[404, 410], Expects("404 or 410")] = 410
    join_at_once_bytes_max: Size = 64 * 1024**2
    delete_joined_parts: Bool = False
    body_idle_seconds: PositiveSeconds = 60
    body_rate_min: Size = 0
    save_interval_seconds: PositiveSeconds = 1
    save_interval_bytes: PositiveSize = 64 * 1024**2
    save_small_bytes: Size = 64 * 1024
    save_small_seconds: PositiveSeconds = 10
    lock_timeout_seconds: PositiveSeconds = 20


class HooksSettings(Section):
    """Blocking hooks and notification hooks. The keys are named after tusd's flags."""

    enabled_events: HookNames = ("pre-create", "post-create", "post-receive", "post-terminate", "post-finish")
    timeout_seconds: PositiveSeconds = 30
    http_urls: Urls = ()
    http_forward_headers: ForwardedNames = ()
    http_retry: Count = 3
    http_backoff_seconds: Seconds = 1
    http_timeout_seconds: PositiveSeconds = 15
    http_size_limit_bytes: PositiveSize = 5120
    http_skip_verify: Bool = False
    executables_dir: Text = ""
    program_timeout_seconds: PositiveSeconds = 3600


class WorkerSettings(Section):
    """The background worker for webhooks, validation and publishing."""

    mode: Annotated[Literal["embedded", "separate"], Expects('"embedded" or "separate"')] = "embedded"
    broker: Broker = "embedded"
    threads: Count = 16
    lease_seconds: PositiveSeconds = 30
    attempts_max: Count = 30
    time_limit_seconds: PositiveSeconds = 3600
    shutdown_timeout_seconds: PositiveSeconds = 10


class EventsSettings(Section):
    """Which events are recorded, and for how long."""

    record: Bool = False
    keep_seconds: Seconds = 604800
    keep_dead_seconds: Seconds = 2592000


class ApiSettings(Section):
    """The JSON API for uploads, jobs and events."""

    enabled: Bool = False
    docs: Bool = True


class ExpirationSettings(Section):
    """How long uploads are kept; 0 keeps them indefinitely."""

    unfinished_seconds: Seconds = 604800
    finished_seconds: Seconds = 0
    partial_seconds: Seconds = 604800
    tombstone_seconds: Seconds = 86400
    leftover_seconds: Seconds = 86400
    sweep_interval_seconds: PositiveSeconds = 60


class CorsSettings(Section):
    """Which web pages of other origins may use this server."""

    enabled: Bool = True
    allow_origins: Origins = ("*",)
    allow_credentials: Bool = False
    allow_headers: HeaderNames = ()
    expose_headers: HeaderNames = ()
    max_age_seconds: WholeSeconds = 86400

    def problems(self) -> Iterator[str]:
        """One sentence for each combination of values that cannot work."""
        if self.allow_credentials and "*" in self.allow_origins:
            yield (
                'cors.allow_credentials is true while cors.allow_origins has "*": every page on the web could upload '
                "with your users' cookies; name the origins instead"
            )


class MetricsSettings(Section):
    """The Prometheus endpoint."""

    enabled: Bool = True
    path: PagePath = "/metrics"


class LogSettings(Section):
    """The log on standard error."""

    format: Annotated[Literal["auto", "text", "json"], Expects('"auto", "text" or "json"')] = "auto"
    level: Annotated[Literal["debug", "info", "warning", "error"], Expects('"debug", "info", "warning" or "error"')] = (
        "info"
    )
    privacy: Bool = False


class Settings(Section):
    """All settings of one server. Each has a default: ``make run`` starts a server with ``Settings()``."""

    server: ServerSettings = ServerSettings()
    storage: StorageSettings = StorageSettings()
    s3: S3Settings = S3Settings()
    records: RecordsSettings = RecordsSettings()
    redis: RedisSettings = RedisSettings()
    locking: LockingSettings = LockingSettings()
    uploads: UploadsSettings = UploadsSettings()
    hooks: HooksSettings = HooksSettings()
    webhooks: WebhooksSettings = WebhooksSettings()
    worker: WorkerSettings = WorkerSettings()
    events: EventsSettings = EventsSettings()
    validation: ValidationSettings = ValidationSettings()
    publishing: PublishingSettings = PublishingSettings()
    api: ApiSettings = ApiSettings()
    access: AccessSettings = AccessSettings()
    accounts: AccountsSettings = AccountsSettings()
    jwt: JwtSettings = JwtSettings()
    quotas: QuotasSettings = QuotasSettings()
    rates: RatesSettings = RatesSettings()
    links: LinksSettings = LinksSettings()
    codes: CodesSettings = CodesSettings()
    audit: AuditSettings = AuditSettings()
    schedules: SchedulesSettings = SchedulesSettings()
    expiration: ExpirationSettings = ExpirationSettings()
    cors: CorsSettings = CorsSettings()
    page: PageSettings = PageSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()

    def problems(self) -> Iterator[str]:
        """One sentence for each combination of values that cannot work."""
        in_memory = [
            name
            for name, is_memory in (
                ('storage.kind is "memory"', self.storage.kind == "memory"),
                ('records.url is "memory"', self.records.url == "memory"),
            )
            if is_memory
        ]
        if in_memory and self.server.processes > 1:
            yield (
                f"{in_memory[0]} while server.processes is {self.server.processes}: processes share no memory; "
                "use one process, or store uploads on disk and records in a database"
            )
        if in_memory and self.steps:
            yield (
                f"{in_memory[0]} while {' and '.join(self.steps)} is switched on: the worker is a separate process and "
                "shares no memory with the server; store uploads on disk and records in a database"
            )
        if in_memory and self.webhooks.endpoints:
            yield (
                f"{in_memory[0]} while webhooks.endpoints is not empty: the worker that delivers events is a separate "
                "process and shares no memory with the server; store uploads on disk and records in a database"
            )
        if not self.has_database and (self.accounts.enabled or self.accounts.api_keys):
            yield 'records.url is "memory" while [accounts] is switched on: accounts need a database'
        yield from self._problems_of_machines()
        if self.schedules.backup_directory and not self.has_database:
            yield 'schedules.backup_directory is set while records.url is "memory": there is nothing to back up'
        if self.schedules.backup_bytes != "none" and self.storage.kind != "disk":
            yield (
                f'schedules.backup_bytes is "{self.schedules.backup_bytes}" while storage.kind is '
                f'"{self.storage.kind}": only bytes on disk are backed up; use "none"'
            )
        yield from self._problems_of_grants()
        if self.api.enabled and self.server.base_path.startswith("/api/"):
            yield (
                f"api.enabled is true while server.base_path is {self.server.base_path!r}: choose a path outside /api/"
            )
        if self.api.enabled and self.api.docs and self.server.base_path.startswith("/docs/"):
            yield (
                f"api.docs is true while server.base_path is {self.server.base_path!r}: choose a path outside /docs/"
            )
        reserved = ("/healthz", "/readyz")
        base_path = self.server.base_path
        if self.metrics.path in reserved or (base_path != "/" and f"{self.metrics.path}/".startswith(base_path)):
            yield (
                f"metrics.path is {self.metrics.path!r}, which the server uses for something else: choose another path"
            )
        if self.server.base_path[:-1] in reserved or self.server.base_path.startswith(f"{self.metrics.path}/"):
            yield (
                f"server.base_path is {self.server.base_path!r}, which the server uses for something else: "
                "choose another path"
            )

    def _problems_of_grants(self) -> Iterator[str]:
        """Those of links and access codes."""
        for name, is_on in (("links", self.links.enabled), ("codes", self.codes.enabled)):
            if is_on and not self.has_access_control:
                yield f"{name}.enabled is true while access control is off: every client can upload anyway"
            if is_on and not self.api.enabled:
                yield f"{name}.enabled is true while api.enabled is false: {name} are made by the API"
            if is_on and not self.has_database:
                yield f'{name}.enabled is true while records.url is "memory": {name} need a database'

    def _problems_of_machines(self) -> Iterator[str]:
        if self.storage.kind == "s3" and not self.s3.bucket:
            yield 'storage.kind is "s3" while s3.bucket is empty: name the bucket'
        if max(self.s3.part_bytes, self.s3.part_bytes_max) > self.s3.memory_bytes:
            yield "s3.part_bytes_max is larger than s3.memory_bytes: a part must fit into the memory"
        if not self.redis.url and self.locking.kind == "redis":
            yield 'locking.kind is "redis" while redis.url is empty: set redis.url'
        if not self.redis.url and self.rates.storage == "redis":
            yield 'rates.storage is "redis" while redis.url is empty: set redis.url'
        if not self.redis.url and self.worker.broker == "redis":
            yield 'worker.broker is "redis" while redis.url is empty: set redis.url'
        if self.locking.kind == "records" and not self.records.url.startswith(_POSTGRESQL):
            yield (
                'locking.kind is "records" while records.url names no PostgreSQL database: processes that share a '
                'SQLite file are on one machine; use "file"'
            )
        if self.locking.kind == "records" and self.records.listen_url == "poll":
            yield (
                'locking.kind is "records" while records.listen_url is "poll": a lock is released when its '
                "holder is notified; name a direct connection to PostgreSQL"
            )

    @property
    def broker_url(self) -> str:
        """Where jobs reach the threads of workers: the URL of a Redis server, or "embedded"."""
        return self.redis.url if self.worker.broker == "redis" else self.worker.broker

    @property
    def has_access_control(self) -> bool:
        """Whether requests are authenticated and uploads protected by their owner."""
        return self.access.anonymous != "all" or self.jwt.enabled or self.accounts.enabled or self.accounts.api_keys

    @property
    def has_page(self) -> bool:
        """Whether the upload page is served: not where its path is that of the tus endpoint."""
        return self.server.page and self.server.base_path != "/"

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the enabled processing steps, in order."""
        return tuple(step.name for step in STEPS if step.setting and self._is_on(step.setting))

    def _is_on(self, name: str) -> bool:
        section, _, key = name.partition(".")
        return bool(getattr(getattr(self, section), key))

    @property
    def has_database(self) -> bool:
        """Whether records are in a database, so that they last and other processes see them."""
        return self.records.url != "memory"

    @property
    def database_path(self) -> str | None:
        """The path of the SQLite database; ``None`` if records are in memory or in PostgreSQL.

        The path of the data directory is no part of a URL: its characters stand for themselves.
        """
        url = self.records.url
        if not url:
            return str(PurePath(self.storage.data_dir, "tusd.sqlite3"))
        return unquote(url.removeprefix(_SQLITE).partition("?")[0]) if url.startswith(_SQLITE) else None
