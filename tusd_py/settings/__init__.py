"""What the operator may set, and how it is read. Values only: nothing here opens a socket, a store or a database."""

from tusd_py.settings.endpoints import EVENT_TYPES, Endpoint, Webhooks
from tusd_py.settings.loading import Given, SettingsError, find_config, load, read, without_credentials
from tusd_py.settings.processing import Publishing, Validation
from tusd_py.settings.sections import (
    Api,
    Cors,
    Events,
    Expiration,
    Hooks,
    Log,
    Metrics,
    Records,
    Server,
    Settings,
    Storage,
    Uploads,
    Worker,
)

__all__ = [
    "EVENT_TYPES",
    "Api",
    "Cors",
    "Endpoint",
    "Events",
    "Expiration",
    "Given",
    "Hooks",
    "Log",
    "Metrics",
    "Publishing",
    "Records",
    "Server",
    "Settings",
    "SettingsError",
    "Storage",
    "Uploads",
    "Validation",
    "Webhooks",
    "Worker",
    "find_config",
    "load",
    "read",
    "without_credentials",
]
