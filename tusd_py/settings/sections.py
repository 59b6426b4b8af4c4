"""All settings together, and which of them cannot be combined. ``config.toml`` explains each one to operators.

Add a new setting to its section, to ``config.toml``, to ``docs/settings.md`` and to the code that reads it, in one
commit: tests compare the four.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from urllib.parse import unquote, urlsplit

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
from tusd_py.settings.backends import (
    POSTGRESQL,
    SQLITE,
    LockingSettings,
    RecordsSettings,
    RedisSettings,
    StorageSettings,
)
from tusd_py.settings.endpoints import WebhooksSettings
from tusd_py.settings.object_store import S3Settings
from tusd_py.settings.page import PageSettings
from tusd_py.settings.processing import PublishingSettings, ValidationSettings
from tusd_py.settings.schedules import SchedulesSettings
from tusd_py.settings.server import ApiSettings, CorsSettings, LogSettings, MetricsSettings, ServerSettings
from tusd_py.settings.uploads import EventsSettings, ExpirationSettings, HooksSettings, UploadsSettings, WorkerSettings
from tusd_py.settings.values import Section


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

    def _problems_of_bucket(self, bucket: str, prefix: str) -> Iterator[str]:
        """Those of publishing in a bucket."""
        if self.storage.kind != "s3":
            yield (
                f'publishing.directory is a bucket while storage.kind is "{self.storage.kind}": only uploads in S3 are '
                "published in S3; name a directory"
            )
        own = self.s3.own_keys()
        if bucket == self.s3.bucket and any(prefix.startswith(key) or key.startswith(prefix) for key in own):
            yield (
                "publishing.directory has the keys of uploads themselves, which the maintenance removes: name another "
                "bucket, or a prefix of its own"
            )

    def _problems_of_machines(self) -> Iterator[str]:
        if self.storage.kind == "s3" and not self.s3.bucket:
            yield 'storage.kind is "s3" while s3.bucket is empty: name the bucket'
        if self.publishing.bucket is not None:
            yield from self._problems_of_bucket(*self.publishing.bucket)
        public = self.s3.public_endpoint_url or self.s3.endpoint_url
        own = urlsplit(self.server.public_url).netloc
        if own and self.storage.kind == "s3" and self.s3.download == "redirect" and urlsplit(public).netloc == own:
            yield (
                's3.download is "redirect" to the host of server.public_url: browsers would display what users upload '
                "with the rights of this server's pages; give S3 a host name of its own in s3.public_endpoint_url"
            )
        if max(self.s3.part_bytes, self.s3.part_bytes_max) > self.s3.memory_bytes:
            yield "s3.part_bytes_max is larger than s3.memory_bytes: a part must fit into the memory"
        if not self.redis.url and self.locking.kind == "redis":
            yield 'locking.kind is "redis" while redis.url is empty: set redis.url'
        if not self.redis.url and self.rates.storage == "redis":
            yield 'rates.storage is "redis" while redis.url is empty: set redis.url'
        if not self.redis.url and self.worker.broker == "redis":
            yield 'worker.broker is "redis" while redis.url is empty: set redis.url'
        if self.locking.kind == "records" and not self.records.url.startswith(POSTGRESQL):
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

        The path of the data directory is not part of a URL, so it is not percent-encoded.
        """
        url = self.records.url
        if not url:
            return str(PurePath(self.storage.data_dir, "tusd.sqlite3"))
        return unquote(url.removeprefix(SQLITE).partition("?")[0]) if url.startswith(SQLITE) else None
