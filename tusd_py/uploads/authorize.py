"""May this request be served at all? Asked before anything else is done for it, or said about an upload."""

from __future__ import annotations

from tusd_py.contracts.hooks import AuthorizeEvent
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.protocol.errors import AccessDenied
from tusd_py.protocol.requests import Create, Discover, Request
from tusd_py.uploads.ports import Ports


async def authorize(ports: Ports, request: Request, caller: Caller) -> None:
    """Return if nobody objects. Raises ``AccessDenied``, ``RecordsError`` or ``HookFailed``.

    No hold is asked for: who may not write to an upload cannot interrupt the one who does. And who is refused is told
    the same whether the upload exists or not.
    """
    if isinstance(request, Discover) or not ports.hooks.handles(Hook.AUTHORIZE):
        return
    upload = None if isinstance(request, Create) else await ports.records.find(request.upload_id)
    answer = await ports.hooks.invoke(AuthorizeEvent(upload, caller))
    if answer.reject:
        raise AccessDenied().with_response(answer.override)
