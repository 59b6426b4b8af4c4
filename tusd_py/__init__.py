"""tusd-py: a resumable-upload server, as a program and as an ASGI application.

``from tusd_py import Tus, Hook, HookAnswer, HookEvent, AuthorizeEvent, Overlay, Settings``: what an application needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
