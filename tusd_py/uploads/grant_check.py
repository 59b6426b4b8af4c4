"""Checks again whether the link or the code of a request is still valid: after a wait for a lock, and at saves."""

from __future__ import annotations

from tusd_py.access.codes import CodeVerifier
from tusd_py.access.links import LinkVerifier
from tusd_py.model.caller import Caller
from tusd_py.protocol.access_errors import CodeEnded, LinkEnded
from tusd_py.uploads.ports import Ports


async def grant_refusal(ports: Ports, caller: Caller) -> LinkEnded | CodeEnded | None:
    """The error for the bearer of a link that was revoked, or of a code that was terminated, since it was accepted.

    ``None`` for every other client, without a look at the database. The expiry of either lets a request that runs go on
    to its end.
    """
    principal = caller.principal
    if principal is None or not principal.grant or ports.access_ports is None:
        return None
    check = ports.access_ports.checks.get(principal.method)
    # Grants for a single download cannot be revoked.
    return await check.refusal(principal.credential) if isinstance(check, LinkVerifier | CodeVerifier) else None


async def ensure_grant(ports: Ports, caller: Caller) -> None:
    """Raise ``LinkEnded`` or ``CodeEnded`` as ``grant_refusal`` returns it."""
    if caller.principal is not None and caller.principal.grant:
        refusal = await grant_refusal(ports, caller)
        if refusal is not None:
            raise refusal
