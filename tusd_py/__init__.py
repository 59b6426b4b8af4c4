"""tusd-py: a resumable-upload server, as a program and as an ASGI application.

``from tusd_py import Tus, Hook, HookAnswer, HookEvent, AuthorizeEvent, Overlay, Settings``: what an application needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = ["AuthorizeEvent", "Hook", "HookEvent", "HookResponse", "ResponseOverride", "Settings", "Tus"]

if TYPE_CHECKING:
    __version__: str
    from tusd_py.contracts.hooks import AuthorizeEvent as AuthorizeEvent
    from tusd_py.contracts.hooks import HookEvent as HookEvent
    from tusd_py.contracts.hooks import HookResponse as HookResponse
    from tusd_py.embed import Tus as Tus
    from tusd_py.model.hooks import Hook as Hook
    from tusd_py.protocol.outcomes import ResponseOverride as ResponseOverride
    from tusd_py.settings import Settings as Settings

_HOMES = {
    "AuthorizeEvent": "tusd_py.contracts.hooks",
    "Hook": "tusd_py.model.hooks",
    "HookResponse": "tusd_py.contracts.hooks",
    "HookEvent": "tusd_py.contracts.hooks",
    "ResponseOverride": "tusd_py.protocol.outcomes",
    "Settings": "tusd_py.settings",
    "Tus": "tusd_py.embed",
}


def __getattr__(name: str) -> object:
    # Looked up when asked for: whoever needs only the protocol need not load the server.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "__version__":
        # That of the installed package, which pyproject.toml alone states. The import takes a while.
        from importlib.metadata import version

        return version("tusd-py")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
