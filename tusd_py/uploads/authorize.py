"""Authorise a request before a lock is requested and before a byte of its body is read."""

from __future__ import annotations

from tusd_py.contracts.hooks import AuthorizeEvent
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.protocol.errors import AccessDenied
from tusd_py.protocol.requests import Create, Discover, Request
from tusd_py.uploads.ports import Ports


async def authorize(ports: Ports, request: Request, caller: Caller) -> None:
    """Invoke the hook ``authorize``, if it is configured. Raises ``AccessDenied`` if the hook rejects the request.

    Also raises ``RecordsError`` or ``HookFailed``. No lock is taken, so a client without permission cannot interrupt a
    running upload. The refusal is the same whether the upload exists or not.
    """
    if isinstance(request, Discover) or not ports.hooks.handles(Hook.AUTHORIZE):
        return
    upload = None if isinstance(request, Create) else await ports.records.find(request.upload_id)
    response = await ports.hooks.invoke(AuthorizeEvent(upload, caller))
    if response.reject:
        raise AccessDenied().with_response(response.override)
