"""Authorise a request before a lock is requested and before a byte of its body is read."""

from __future__ import annotations

from dataclasses import replace

from tusd_py.access.audit import actor_of, requested_id
from tusd_py.access.policy import AccessPolicy
from tusd_py.contracts.hooks import AuthorizeEvent
from tusd_py.model.audit import AuditKind
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.principal import Principal, Verb
from tusd_py.model.upload import Upload
from tusd_py.protocol.access_errors import Unauthenticated
from tusd_py.protocol.errors import AccessDenied, TusError, UploadNotFound
from tusd_py.protocol.requests import Append, Create, Discover, Download, Fill, Inspect, Request, Terminate
from tusd_py.uploads.commit import Cause, update
from tusd_py.uploads.ports import Ports

_VERBS: dict[type[Request], Verb] = {
    Create: Verb.CREATE,
    Fill: Verb.APPEND,
    Append: Verb.APPEND,
    Inspect: Verb.INSPECT,
    Terminate: Verb.TERMINATE,
    Download: Verb.DOWNLOAD,
}


async def authorize(ports: Ports, request: Request, caller: Caller) -> Caller:
    """Invoke the hook ``authorize``, if it is configured, and apply the access policy, if access control is on.

    Returns the caller, with the owner that the hook named, if any. Raises ``AccessDenied``, ``Unauthenticated`` or
    ``UploadNotFound``, also ``RecordsError`` or ``HookFailed``. No lock is taken, so a client without permission cannot
    interrupt a running upload. The refusal is the same, after the same reads, whether the upload does not exist or
    belongs to another owner.
    """
    try:
        return await _authorize(ports, request, caller)
    except (AccessDenied, Unauthenticated, UploadNotFound) as refused:
        record_refusal(ports, request, caller, refused)
        raise


def permits_as_it_is(
    ports: Ports, access: AccessPolicy, principal: Principal, verb: Verb, upload: Upload | None = None
) -> bool:
    """Whether ``authorize`` returns the caller of such a request as it is, if there is no hook ``authorize``.

    ``upload`` is ``None`` for a creation. False: ``authorize`` refuses the request, lets it only read, or makes
    ``principal`` the owner.
    """
    if principal.is_anonymous and not access.allows_anonymous:
        return False
    if upload is None:
        return access.permits(principal, verb)
    return (
        access.permits(principal, verb, upload)
        and (verb is Verb.APPEND or access.permits(principal, Verb.APPEND, upload))
        and not access.may_claim(principal, verb, upload, ports.clock())
    )


def is_revocable(ports: Ports, principal: Principal | None) -> bool:
    """Whether the credentials of a request have to be looked at once more before its upload completes."""
    access = ports.access_ports
    return principal is not None and access is not None and principal.method in access.checks


def record_refusal(ports: Ports, request: Request, caller: Caller, refused: TusError) -> None:
    """Record a request that was refused because of its credentials, if the audit log is on."""
    if ports.audit is not None and (verb := _VERBS.get(type(request))) is not None:
        upload_id = "" if isinstance(request, Create | Discover) else requested_id(request.upload_id)
        reason = f"{refused.status} {refused.code}"
        ports.audit.record_refusal(actor_of(caller), verb.value, AuditKind.UPLOAD, upload_id, reason)


async def _authorize(ports: Ports, request: Request, caller: Caller) -> Caller:
    has_hook = ports.hooks.handles(Hook.AUTHORIZE)
    if (ports.access is None and not has_hook) or isinstance(request, Discover):
        return caller
    if ports.access is not None and not has_hook:
        _refuse_without_credentials(ports.access, caller)
    # Hooks see the parts of a final upload. The policy does not look at them.
    upload = None if isinstance(request, Create) else await ports.records.find(request.upload_id, with_parts=has_hook)
    if has_hook:
        response = await ports.hooks.invoke(AuthorizeEvent(upload, caller))
        if response.reject:
            raise AccessDenied().with_response(response.override)
        if response.owner is not None:
            caller = caller.acting_for(response.owner)
    if ports.access is None:
        return caller
    _refuse_without_credentials(ports.access, caller)
    assert caller.principal is not None
    verb = _VERBS[type(request)]
    if isinstance(request, Create):
        if not ports.access.permits(caller.principal, verb):
            raise AccessDenied
        return caller
    return await _apply_policy(ports, ports.access, upload, caller, caller.principal, verb)


def _refuse_without_credentials(access: AccessPolicy, caller: Caller) -> None:
    assert caller.principal is not None, "access control is on: the web authenticates every request"
    if caller.principal.is_anonymous and not access.allows_anonymous:
        raise Unauthenticated


async def _apply_policy(
    ports: Ports, access: AccessPolicy, upload: Upload | None, caller: Caller, principal: Principal, verb: Verb
) -> Caller:
    """The caller, with what it may do to ``upload``. Raises ``UploadNotFound`` for what it may not even know of."""
    if upload is None:
        raise UploadNotFound
    if access.may_claim(principal, verb, upload, ports.clock()):
        upload = await ports.records.find(upload.id)
        if upload is None:
            raise UploadNotFound
        await update(ports, upload, upload.claimed_by(principal.subject), Cause(caller))
        return caller
    if access.permits(principal, verb, upload):
        # A request that may only read must not interrupt one that writes.
        return caller if access.permits(principal, Verb.APPEND, upload) else replace(caller, may_write=False)
    raise AccessDenied if access.permits(principal, Verb.INSPECT, upload) else UploadNotFound
