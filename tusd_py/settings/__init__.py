"""The settings an operator can change, and how they are read. Nothing here opens a socket, a store or a database."""

from tusd_py.settings.access import AccessSettings, JwtSettings
from tusd_py.settings.endpoints import EndpointSettings, WebhooksSettings
from tusd_py.settings.loading import (
    SettingsError,
    Sourced,
    build,
    find_config,
    load,
    load_or_exit,
    read,
    without_credentials,
)
from tusd_py.settings.processing import PublishingSettings, ValidationSettings
from tusd_py.settings.sections import (
    ApiSettings,
    CorsSettings,
    EventsSettings,
    ExpirationSettings,
    HooksSettings,
    LogSettings,
    MetricsSettings,
    RecordsSettings,
    ServerSettings,
    Settings,
    StorageSettings,
    UploadsSettings,
    WorkerSettings,
)

__all__ = [
    "AccessSettings",
    "ApiSettings",
    "CorsSettings",
    "EndpointSettings",
    "EventsSettings",
    "ExpirationSettings",
    "HooksSettings",
    "JwtSettings",
    "LogSettings",
    "MetricsSettings",
    "PublishingSettings",
    "RecordsSettings",
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
    "find_config",
    "load",
    "load_or_exit",
    "read",
    "without_credentials",
]
