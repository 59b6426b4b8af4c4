"""``/api/keys``: API keys. People see, make and revoke their own; administrators those of all owners."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

from tusd_py.access.api_keys import METHOD, new_key
from tusd_py.contracts.accounts import ApiKeys
from tusd_py.model.account import ApiKey
from tusd_py.model.audit import AuditKind
from tusd_py.model.principal import ASSIGNABLE_ROLES, NO_LIMITS, TYPES_MAX, PrincipalLimits, Role, Verb
from tusd_py.protocol.errors import AccessDenied
from tusd_py.views import key_view
from tusd_py.web.api.call import Access, ApiRoute, Call, available
from tusd_py.web.api.cursors import format_cursor, parse_cursor
from tusd_py.web.api.problems import ApiError

E = TypeVar("E", Role, Verb)

_KIND = "keys"
_LABEL_CHARACTERS_MAX = 255
#: What a request may name as an owner: as the subject of a token.
_OWNER_CHARACTERS_MAX = 255


async def list_keys(call: Call) -> object:
    """Keys by id: those of the client, or for administrators those of ``owner`` or of all."""
    keys, query, limit = _keys(call), call.query, call.query.limit()
    owner = query.text("owner") if call.may(Verb.OPERATE) else call.principal.subject
    cursor = query.text("cursor")
    after = str(parse_cursor(cursor, _KIND, str)[0]) if cursor else ""
    found = await keys.list_keys(owner=owner, after_id=after, limit=limit)
    more = format_cursor(_KIND, found[-1].id) if len(found) == limit else None
    return {"keys": [key_view(key) for key in found if _may_see(call, key)], "next": more}


async def create_key(call: Call) -> object:
    """A new key with its text, which is shown only in this response. It has at most the rights of the client."""
    keys, principal, now = _keys(call), call.principal, call.ports.clock()
    if principal.method == METHOD:
        raise AccessDenied  # a leaked key must not create others, which would outlive it
    call.ensure_not_limited("a key")
    body = (await call.json()).only("label", "owner", "roles", "verbs", "length_max", "types", "expires_at")
    owner = body.text("owner", principal.subject, characters_max=_OWNER_CHARACTERS_MAX)
    if not owner or not owner.isprintable():
        raise ApiError(400, "owner must be text of printable characters")
    roles = _members(body.texts("roles", sorted(principal.roles)), "roles", ASSIGNABLE_ROLES)
    is_own = owner == principal.subject and roles <= principal.roles
    if not is_own and not call.may(Verb.OPERATE):
        raise AccessDenied
    verbs = _members(body.texts("verbs"), "verbs", Verb) if "verbs" in body else None
    expires_at: datetime | None = body.instant("expires_at") if "expires_at" in body else None
    if expires_at is not None and expires_at <= now:
        raise ApiError(400, "expires_at must be in the future")
    label = body.text("label", "", characters_max=_LABEL_CHARACTERS_MAX)
    if body.texts("types", ["*/*"]) == []:
        raise ApiError(400, "types must name at least one media type")
    limits = PrincipalLimits(
        length_max=body.number("length_max", least=1) if "length_max" in body else None,
        types=body.media_types("types", items_max=TYPES_MAX) if "types" in body else None,
    )
    key, text = new_key(
        owner=owner, label=label, roles=roles, verbs=verbs, now=now, expires_at=expires_at, limits=limits
    )
    await keys.add(key, call.audit("create", AuditKind.KEY, key.id))
    return {**key_view(key), "key": text}


async def revoke_key(call: Call) -> object:
    """Revoke a key of the client; administrators may revoke every key. Others do not exist for the client.

    A restricted key revokes only itself, so that a leaked one cannot end all others.
    """
    keys, key_id = _keys(call), call.path("key_id")
    key = await keys.find(key_id) if key_id.isascii() and key_id.isalnum() else None
    if key is None or not _may_see(call, key):
        raise ApiError(404, "no key has this id")
    await keys.revoke(key_id, call.ports.clock(), call.audit("revoke", AuditKind.KEY, key_id))
    return None


def _may_see(call: Call, key: ApiKey) -> bool:
    principal = call.principal
    is_restricted = principal.method == METHOD and (principal.verbs is not None or principal.limits != NO_LIMITS)
    is_own = key.owner == principal.subject and (not is_restricted or key.id == principal.credential)
    return is_own or call.may(Verb.OPERATE)


def _members(texts: list[str], name: str, members: Iterable[E]) -> frozenset[E]:
    known = {member.value: member for member in members}
    if not set(texts) <= set(known):
        raise ApiError(400, f"{name} must be of {', '.join(known)}")
    return frozenset(known[text] for text in texts)


def _keys(call: Call) -> ApiKeys:
    access = call.ports.access_ports
    is_on = access is not None and METHOD in access.checks
    return available(access.api_keys if access is not None and is_on else None, "API keys are off (accounts.api_keys)")


ROUTES = (
    ApiRoute("GET", "/api/keys", list_keys, Access.PRINCIPAL, query=("owner", "cursor", "limit")),
    ApiRoute("POST", "/api/keys", create_key, Access.PRINCIPAL, status=201),
    ApiRoute("DELETE", "/api/keys/{key_id}", revoke_key, Access.PRINCIPAL),
)
