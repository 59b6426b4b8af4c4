"""The settings an operator can change, and how they are read. Nothing here opens a socket, a store or a database."""

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
from tusd_py.settings.backends import LockingSettings, RecordsSettings, RedisSettings, StorageSettings
from tusd_py.settings.endpoints import EndpointSettings, WebhooksSettings
from tusd_py.settings.loading import (
    SettingsError,
    Sourced,
    build,
    describe_database,
    find_config,
    from_mapping,
    load,
    load_or_exit,
    read,
    without_credentials,
)
from tusd_py.settings.page import PageSettings
from tusd_py.settings.processing import PublishingSettings, ValidationSettings
from tusd_py.settings.schedules import SchedulesSettings
from tusd_py.settings.sections import Settings
from tusd_py.settings.server import ApiSettings, CorsSettings, LogSettings, MetricsSettings, ServerSettings
from tusd_py.settings.uploads import EventsSettings, ExpirationSettings, HooksSettings, UploadsSettings, WorkerSettings

__all__ = [
    "AccessSettings",
    "AccountsSettings",
    "ApiSettings",
    "AuditSettings",
    "CodesSettings",
    "CorsSettings",
    "EndpointSettings",
    "EventsSettings",
    "ExpirationSettings",
    "HooksSettings",
    "JwtSettings",
    "LinksSettings",
    "LockingSettings",
    "LogSettings",
    "MetricsSettings",
    "PageSettings",
    "PublishingSettings",
    "QuotasSettings",
    "RatesSettings",
    "RecordsSettings",
    "RedisSettings",
    "SchedulesSettings",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "Sourced",
    "StorageSettings",
    "UploadsSettings",
    "ValidationSettings",
    "WebhooksSettings",
    "WorkerSettings",
    "build",
    "describe_database",
    "find_config",
    "from_mapping",
    "load",
    "load_or_exit",
    "read",
    "without_credentials",
]
