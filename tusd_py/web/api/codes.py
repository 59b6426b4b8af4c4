"""``/api/codes``: access codes for people without an account."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from tusd_py.access import codes as access_codes
from tusd_py.access.audit import actor_of, record
from tusd_py.access.codes import CodeToken, CodeVerifier, code_token, redeem
from tusd_py.access.errors import TokenInvalid
from tusd_py.access.ports import AccessPorts
from tusd_py.contracts.codes import AccessCodes
from tusd_py.model.audit import AuditKind
from tusd_py.model.codes import CODE_GRANT, AccessCode, CodeState, format_code
from tusd_py.model.principal import Verb
from tusd_py.protocol.access_errors import CodeUnknown, CredentialsRevoked, TooManyGuesses, Unauthenticated
from tusd_py.uploads.create_link import new_id
from tusd_py.uploads.end_grant import terminate_code
from tusd_py.views import code_view, format_time
from tusd_py.web.api.call import Access, ApiRoute, Call, available
from tusd_py.web.api.code_events import code_events
from tusd_py.web.api.cursors import format_cursor, parse_cursor
from tusd_py.web.api.links import ACCESS_IS_OFF, is_revoked, listed_owner, owner_from, seconds_from, sharing_backends
from tusd_py.web.api.problems import ApiError

_SECONDS = 3600
_CURSOR = "codes"
_LABEL_CHARACTERS_MAX = 200


def _codes(access: AccessPorts | None) -> tuple[AccessPorts, AccessCodes]:
    access = available(access, ACCESS_IS_OFF)
    return access, available(access.codes, "access codes are off (codes.enabled)")


async def create_code(call: Call) -> object:
    """A new code with its characters, which are shown only in this response."""
    access, codes = _codes(sharing_backends(call))
    call.ensure_not_limited("an access code")
    body = (await call.json()).only("label", "seconds", "files_max", "bytes_max", "owner")
    now = call.ports.clock()
    code = AccessCode(
        id=new_id(now),
        owner=owner_from(call, body),
        label=body.text("label", "", characters_max=_LABEL_CHARACTERS_MAX),
        created_at=now,
        expires_at=now + timedelta(seconds=seconds_from(body, "seconds", _SECONDS, access.terms.code_seconds_max)),
        files_max=body.number("files_max", least=1) if "files_max" in body else None,
        bytes_max=body.number("bytes_max", least=1) if "bytes_max" in body else None,
    )
    text = await access_codes.create_code(codes, access.signer, code, call.audit("create", AuditKind.CODE, code.id))
    if await is_revoked(call):
        await codes.terminate(code.id, now)
        raise CredentialsRevoked
    return {**code_view(code, now), "code": format_code(text)}


async def list_codes(call: Call) -> object:
    """Codes, newest first: those of the client, or for administrators those of ``owner`` or of all."""
    _, codes = _codes(sharing_backends(call))
    limit = call.query.limit()
    before_id = str(parse_cursor(call.query.text("cursor"), _CURSOR, str)[0]) if "cursor" in call.query else ""
    found = await codes.list_codes(owner=listed_owner(call), before_id=before_id, limit=limit + 1)
    page, now = found[:limit], call.ports.clock()
    following = format_cursor(_CURSOR, page[-1].id) if len(found) > limit else None
    return {"codes": [code_view(code, now) for code in page], "next": following}


async def redeem_code(call: Call) -> object:
    """A token for the code that a person has entered. Raises ``TooManyGuesses`` or ``CodeUnknown``."""
    access, codes = _codes(call.ports.access_ports)
    entry = (await call.json()).only("code").text("code")
    now = call.ports.clock()
    if (left := access.guess_waits.remaining(call.address, now)) is not None:
        raise TooManyGuesses(math.ceil(left.total_seconds()))
    attempt = await redeem(codes, access.signer, entry, call.address, now)
    if attempt.wait is not None:
        access.guess_waits.note(call.address, attempt.wait, now)
        raise TooManyGuesses(math.ceil(attempt.wait.total_seconds()))
    actor = actor_of(call.caller())
    if attempt.code is None:
        if call.ports.audit is not None:
            call.ports.audit.record_refusal(actor, "redeem", AuditKind.CODE, "", "404 ERR_CODE_UNKNOWN")
        raise CodeUnknown
    await record(call.ports.audit, actor, "redeem", AuditKind.CODE, attempt.code.id)
    return _token_view(code_token(access.signer, attempt.code, now, access.terms.code_token_seconds), attempt.code, now)


async def renew_token(call: Call) -> object:
    """A new token for one that is valid or expired a short time ago, until the code ends."""
    access, codes = _codes(call.ports.access_ports)
    token = (await call.json()).only("token").text("token")
    verifier = CodeVerifier(codes, access.signer, access.clock)
    try:
        principal = await verifier.verify(token.encode("utf-8", "replace"), allow_expired=True)
    except TokenInvalid as invalid:
        raise Unauthenticated(str(invalid)) from None
    code, now = await codes.find(principal.credential), call.ports.clock()
    assert code is not None, "the token was verified with it"
    return _token_view(code_token(access.signer, code, now, access.terms.code_token_seconds), code, now)


def _token_view(token: CodeToken, code: AccessCode, now: datetime) -> dict[str, object]:
    return {"token": token.text, "expires_at": format_time(token.expires_at), "code": code_view(code, now)}


async def _find(call: Call, *, by_bearer: bool = False) -> AccessCode:
    """The code, if the client owns it, or with ``by_bearer`` if the client has redeemed it.

    Raises the same ``ApiError`` for the code of another owner and for an unknown one.
    """
    _, codes = _codes(call.ports.access_ports)
    code = await codes.find(call.path("code_id"))
    principal = call.principal
    if code is not None:
        if principal.grant:
            is_own = by_bearer and principal.grant == f"{CODE_GRANT}{code.id}"
        else:
            is_own = (code.owner == principal.subject and call.may(Verb.SHARE)) or call.may(Verb.OPERATE)
        if is_own:
            return code
    raise ApiError(404, "no access code has this id")


async def show_code(call: Call) -> object:
    """The state of a code, for its owner and for its bearer."""
    return code_view(await _find(call, by_bearer=True), call.ports.clock())


async def watch_code(call: Call) -> object:
    """The state of a code as server-sent events, for its owner and for its bearer."""
    code = await _find(call, by_bearer=True)
    access, codes = _codes(call.ports.access_ports)
    return code_events(call, access, codes, code, code_view)


async def extend_code(call: Call) -> object:
    """Move the end of an active code by ``seconds``, at most to where the end of a new code could be."""
    code = await _find(call)
    access, codes = _codes(call.ports.access_ports)
    most = access.terms.code_seconds_max
    seconds = (await call.json()).only("seconds").number("seconds", least=1, most=int(most))
    now = call.ports.clock()
    audit = call.audit("add-time", AuditKind.CODE, code.id)
    if not await codes.extend(code.id, seconds, now, now + timedelta(seconds=most), audit):
        raise ApiError(409, "the access code has ended")
    return await show_code(call)


async def end_code(call: Call) -> object:
    """End a code now. Running uploads are interrupted; the bytes that they have sent by then are kept."""
    code = await _find(call)
    _, codes = _codes(call.ports.access_ports)
    audit = call.audit("terminate", AuditKind.CODE, code.id)
    has_ended_it = await terminate_code(call.ports, codes, code.id, audit)
    if not has_ended_it and code.state(call.ports.clock()) is CodeState.EXPIRED:
        raise ApiError(409, "the access code has ended")
    return await show_code(call)


ROUTES = (
    ApiRoute("GET", "/api/codes", list_codes, Access.PRINCIPAL, ("limit", "cursor", "owner")),
    ApiRoute("POST", "/api/codes", create_code, Access.PRINCIPAL, status=201),
    ApiRoute("POST", "/api/codes/redeem", redeem_code, Access.OPEN),
    ApiRoute("POST", "/api/codes/renew", renew_token, Access.OPEN),
    ApiRoute("GET", "/api/codes/{code_id}", show_code, Access.BEARER),
    ApiRoute("GET", "/api/codes/{code_id}/events", watch_code, Access.BEARER),
    ApiRoute("POST", "/api/codes/{code_id}/add-time", extend_code, Access.PRINCIPAL),
    ApiRoute("POST", "/api/codes/{code_id}/terminate", end_code, Access.PRINCIPAL),
)
