"""Every setting with its default, in frozen sections. What each means to an operator is told in ``config.toml``.

A new setting is added here, to ``config.toml`` and to the code that reads it, in one commit: tests hold the three
together.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Literal, Self
from urllib.parse import unquote

from pydantic import model_validator

from tusd_py.model.steps import STEPS
from tusd_py.settings.endpoints import Webhooks
from tusd_py.settings.processing import Publishing, Validation
from tusd_py.settings.values import (
    Allowed,
    Amount,
    BasePath,
    Broker,
    Count,
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
    PublicUrl,
    Seconds,
    Section,
    Size,
    Switch,
    Text,
    Urls,
    Wait,
    WholeSeconds,
)

_SQLITE = "sqlite:///"


class Server(Section):
    """Where to listen, for whom, and with how many processes."""

    host: Text = "127.0.0.1"
    port: Port = 8080
    unix_socket: Text = ""
    systemd_socket: Switch = False
    workers: Count = 1
    base_path: BasePath = "/files/"
    public_url: PublicUrl = ""
    trusted_proxies: Networks = ()
    page: Switch = True
    tls_certificate: Text = ""
    tls_key: Text = ""
    keep_alive_seconds: Wait = 75
    header_timeout_seconds: Wait = 10
    header_bytes_max: Amount = 65536
    fast_body: Switch = True
    shutdown_timeout_seconds: Wait = 10

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.unix_socket and self.systemd_socket:
            raise ValueError("server.unix_socket and server.systemd_socket are both set: choose one place to listen on")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("server.tls_certificate and server.tls_key belong together: set both, or neither for HTTP")
        return self


class Storage(Section):
    """Where bytes lie."""

    kind: Annotated[Literal["disk", "memory"], Allowed('"disk" or "memory"')] = "disk"
    data_dir: Annotated[str, Allowed("the path of a directory")] = "./data"
    durability: Annotated[Literal["completion", "power"], Allowed('"completion" or "power"')] = "completion"
    file_mode: FileMode = "0640"


class Records(Section):
    """Where what is known of each upload is kept."""

    url: Text = ""

    @model_validator(mode="after")
    def _supported(self) -> Self:
        if self.url not in ("", "memory") and not (self.url.startswith(_SQLITE) and self.url != _SQLITE):
            raise ValueError(
                # Only the scheme is repeated: what follows may hold a password.
                f"records.url begins with {self.url.split(':')[0]!r}: supported now are sqlite:///relative/path, "
                "sqlite:////absolute/path, "
                '"memory", and empty for tusd.sqlite3 in storage.data_dir'
            )
        return self


class Uploads(Section):
    """What clients may do, and the bounds of it."""

    length_max: Size = 0
    metadata_bytes_max: Size = 8192
    parts_max: Count = 1000
    termination: Switch = True
    concatenation: Switch = True
    concat_hosts: Hosts = ()
    creation_with_upload: Switch = True
    ietf_draft: Switch = True
    downloads: Switch = True
    partial_downloads: Switch = False
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
    gone_status: Annotated[Literal[404, 410], Allowed("404 or 410")] = 410
    join_at_once_bytes_max: Size = 64 * 1024**2
    delete_joined_parts: Switch = False
    body_idle_seconds: Wait = 60
    body_rate_min: Size = 0
    save_interval_seconds: Wait = 1
    save_interval_bytes: Amount = 64 * 1024**2
    lock_timeout_seconds: Wait = 20


class Hooks(Section):
    """Who is asked, or told, about uploads; names as tusd's flags have them."""

    enabled_events: HookNames = ("pre-create", "post-create", "post-receive", "post-terminate", "post-finish")
    timeout_seconds: Wait = 30
    http_urls: Urls = ()
    http_forward_headers: ForwardedNames = ()
    http_retry: Count = 3
    http_backoff_seconds: Seconds = 1
    http_timeout_seconds: Wait = 15
    http_size_limit_bytes: Amount = 5120
    http_skip_verify: Switch = False
    executables_dir: Text = ""


class Worker(Section):
    """Who does what follows from uploads: webhooks, validation, publishing."""

    mode: Annotated[Literal["embedded", "separate"], Allowed('"embedded" or "separate"')] = "embedded"
    broker: Broker = "embedded"
    threads: Count = 16
    lease_seconds: Wait = 30
    attempts_max: Count = 30
    time_limit_seconds: Wait = 3600
    shutdown_timeout_seconds: Wait = 10


class Events(Section):
    """What is kept of what has happened."""

    record: Switch = False
    keep_seconds: Seconds = 604800


class Api(Section):
    """What programs and people may look at over HTTP."""

    enabled: Switch = False


class Expiration(Section):
    """How long uploads are kept; 0 is for ever."""

    unfinished_seconds: Seconds = 604800
    finished_seconds: Seconds = 0
    partial_seconds: Seconds = 604800
    tombstone_seconds: Seconds = 86400
    sweep_interval_seconds: Wait = 60


class Cors(Section):
    """Which web pages of other origins may talk to this server."""

    enabled: Switch = True
    allow_origins: Origins = ("*",)
    allow_credentials: Switch = False
    allow_headers: HeaderNames = ()
    expose_headers: HeaderNames = ()
    max_age_seconds: WholeSeconds = 86400

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.allow_credentials and "*" in self.allow_origins:
            raise ValueError(
                'cors.allow_credentials is true while cors.allow_origins has "*": every page on the web could upload '
                "with your users' cookies; name the origins instead"
            )
        return self


class Metrics(Section):
    """What Prometheus may read."""

    enabled: Switch = True
    path: PagePath = "/metrics"


class Log(Section):
    """What is told on standard error."""

    format: Annotated[Literal["auto", "text", "json"], Allowed('"auto", "text" or "json"')] = "auto"
    level: Annotated[Literal["debug", "info", "warning", "error"], Allowed('"debug", "info", "warning" or "error"')] = (
        "info"
    )


class Settings(Section):
    """All settings of one server; a default for each, so ``Settings()`` is the server that ``make run`` starts."""

    server: Server = Server()
    storage: Storage = Storage()
    records: Records = Records()
    uploads: Uploads = Uploads()
    hooks: Hooks = Hooks()
    webhooks: Webhooks = Webhooks()
    worker: Worker = Worker()
    events: Events = Events()
    validation: Validation = Validation()
    publishing: Publishing = Publishing()
    api: Api = Api()
    expiration: Expiration = Expiration()
    cors: Cors = Cors()
    metrics: Metrics = Metrics()
    log: Log = Log()

    @model_validator(mode="after")
    def _agree(self) -> Self:
        in_memory = [
            name
            for name, is_memory in (
                ('storage.kind is "memory"', self.storage.kind == "memory"),
                ('records.url is "memory"', self.records.url == "memory"),
            )
            if is_memory
        ]
        if in_memory and self.server.workers > 1:
            raise ValueError(
                f"{in_memory[0]} while server.workers is {self.server.workers}: processes share no memory; "
                "use one worker, or keep uploads on disk"
            )
        if in_memory and self.steps:
            raise ValueError(
                f"{in_memory[0]} while {' and '.join(self.steps)} is asked for: workers are processes of their own and "
                "share no memory; keep uploads on disk and records in a database"
            )
        if in_memory and self.webhooks.endpoints:
            raise ValueError(
                f"{in_memory[0]} while webhooks.endpoints has somebody to tell: events are kept in a database, for a "
                "worker that is a process of its own; keep uploads on disk and records in a database"
            )
        if self.api.enabled and self.server.base_path.startswith("/api/"):
            raise ValueError(
                f"api.enabled is true while server.base_path is {self.server.base_path!r}: choose another path"
            )
        reserved = ("/healthz", "/readyz")
        if self.metrics.path in reserved or f"{self.metrics.path}/".startswith(self.server.base_path):
            raise ValueError(
                f"metrics.path is {self.metrics.path!r}, which is taken by the server: choose another path"
            )
        if self.server.base_path[:-1] in reserved or self.server.base_path.startswith(f"{self.metrics.path}/"):
            raise ValueError(f"server.base_path is {self.server.base_path!r}, which is taken: choose another path")
        return self

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the enabled processing steps, in order."""
        return tuple(step.name for step in STEPS if step.setting and self._is_on(step.setting))

    def _is_on(self, name: str) -> bool:
        section, _, key = name.partition(".")
        return bool(getattr(getattr(self, section), key))

    @property
    def database_url(self) -> str:
        """Where records are: ``sqlite:///path``, or ``memory``."""
        return self.records.url or f"{_SQLITE}{PurePath(self.storage.data_dir, 'tusd.sqlite3')}"

    @property
    def database_path(self) -> str | None:
        """The file of the SQLite database; ``None`` where records are in memory."""
        return unquote(self.database_url.removeprefix(_SQLITE)) if self.database_url.startswith(_SQLITE) else None
