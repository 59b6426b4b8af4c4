"""tusd-py: a resumable-upload server, as a program and as an ASGI application.

Applications import the names in ``__all__`` from here; each is loaded at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = [
    "AuthorizeEvent",
    "Hook",
    "HookEvent",
    "HookResponse",
    "ResponseOverride",
    "Settings",
    "SettingsError",
    "Tus",
]

if TYPE_CHECKING:
    __version__: str
    from tusd_py.contracts.hooks import AuthorizeEvent as AuthorizeEvent
    from tusd_py.contracts.hooks import HookEvent as HookEvent
    from tusd_py.contracts.hooks import HookResponse as HookResponse
    from tusd_py.embed import Tus as Tus
    from tusd_py.model.hooks import Hook as Hook
    from tusd_py.protocol.outcomes import ResponseOverride as ResponseOverride
    from tusd_py.settings import Settings as Settings
    from tusd_py.settings import SettingsError as SettingsError

_MODULES = {
    "AuthorizeEvent": "tusd_py.contracts.hooks",
    "Hook": "tusd_py.model.hooks",
    "HookResponse": "tusd_py.contracts.hooks",
    "HookEvent": "tusd_py.contracts.hooks",
    "ResponseOverride": "tusd_py.protocol.outcomes",
    "Settings": "tusd_py.settings",
    "SettingsError": "tusd_py.settings",
    "Tus": "tusd_py.embed",
}


def __getattr__(name: str) -> object:
    # Loaded at first use: a program that only needs the protocol does not load the server.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    if name == "__version__":
        # The version of the installed package, from pyproject.toml. The import is slow.
        from importlib.metadata import version

        return version("tusd-py")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
