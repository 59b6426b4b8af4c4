"""``/api/upload-links`` and ``/api/download-links``: URLs that need no credentials."""

from __future__ import annotations

import re
from datetime import datetime

from tusd_py.access.audit import actor_of, record
from tusd_py.access.links import link_query
from tusd_py.access.ports import AccessPorts
from tusd_py.contracts.links import Links
from tusd_py.model.audit import AuditKind
from tusd_py.model.ids import is_owner
from tusd_py.model.links import Link, LinkKind
from tusd_py.model.principal import Verb
from tusd_py.protocol import rules
from tusd_py.protocol.access_errors import CredentialsRevoked, Unauthenticated
from tusd_py.protocol.errors import AccessDenied
from tusd_py.protocol.metadata import format_metadata, parse_metadata
from tusd_py.uploads.create_link import LinkTerms, create_download_link, create_upload_link
from tusd_py.uploads.end_grant import revoke_link
from tusd_py.uploads.type_limits import ensure_type_named, ensure_types_within
from tusd_py.views import format_time
from tusd_py.web.api.call import Access, ApiRoute, Call, available
from tusd_py.web.api.cursors import format_cursor, parse_cursor
from tusd_py.web.api.json_body import JsonBody
from tusd_py.web.api.problems import ApiError
from tusd_py.web.request_body import EMPTY_BODY

#: For resources that have no setting of their own.
ACCESS_IS_OFF = "access control is off; docs/access.md names the settings that switch it on"

_ORIGIN = re.compile(r"https?://[a-z0-9._-]+(?::[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](?::[0-9]{1,5})?", re.ASCII)
_TYPES_MAX = 20
_EXPIRY_SECONDS = 3600


def sharing_backends(call: Call) -> AccessPorts:
    """The backends of access control, for a client that may create links and codes.

    Raises ``ApiError`` while access control is off, ``Unauthenticated`` or ``AccessDenied``.
    """
    access = available(
        call.ports.access_ports, "access control is off; docs/access.md names the settings that switch it on"
    )
    if call.principal.is_anonymous:
        raise Unauthenticated
    if not call.may(Verb.SHARE):
        raise AccessDenied
    return access


def owner_from(call: Call, body: JsonBody) -> str:
    """The member ``owner`` of the body, by default the client itself. Only an admin may name another owner."""
    owner = body.text("owner", call.principal.subject)
    if owner != call.principal.subject and not call.may(Verb.OPERATE):
        raise AccessDenied
    if not owner or not is_owner(owner):
        raise ApiError(400, "owner must be a text of 1 to 255 characters without control characters")
    return owner


async def is_revoked(call: Call) -> bool:
    """Whether the credentials of the client were revoked while this request ran, such as by disabling its account.

    Disabling an account ends its links and codes. The caller must end the one that it has just created: it did not
    exist yet when the others were ended.
    """
    access = call.ports.access_ports
    check = None if access is None else access.checks.get(call.principal.method)
    return check is not None and not await check.is_valid(call.principal.credential)


def seconds_from(body: JsonBody, name: str, default: int, most: float) -> int:
    """The lifetime in the member ``name``, from 1 to ``most`` seconds."""
    return body.number(name, min(default, int(most)), least=1, most=int(most))


def _links(access: AccessPorts) -> Links:
    return available(access.links, "links are off (links.enabled)")


def link_view(link: Link, now: datetime) -> dict[str, object]:
    """The fields of a link, without its URL, which is shown only when the link is created."""
    return {
        "id": link.id,
        "kind": link.kind.value,
        "state": link.state(now).value,
        "upload_id": link.upload_id,
        "owner": link.owner,
        "created_at": format_time(link.created_at),
        "expires_at": format_time(link.expires_at),
        "revoked_at": format_time(link.revoked_at),
        "used_at": format_time(link.used_at),
        "types": list(link.types),
        "origins": list(link.origins),
        "may_download": link.may_download or link.kind is LinkKind.DOWNLOAD,
        "single_use": link.is_single_use,
    }


async def add_upload_link(call: Call) -> object:
    """Create an upload and a link with which its bearer fills it; the URL is shown only in this response."""
    access = sharing_backends(call)
    _links(access)
    if not call.may(Verb.CREATE):
        raise AccessDenied
    names = ("length", "length_max", "metadata", "types", "origins", "expires_in", "may_download", "owner")
    body = (await call.json()).only(*names)
    length = body.number("length") if "length" in body else None
    length_max = _length_max(call, body, length)
    metadata = body.text_map("metadata", {})
    if metadata:
        header = format_metadata({name: value.encode() for name, value in metadata.items()})
        parse_metadata(header)
        if len(header) > call.ports.policy.limits.metadata_bytes_max:
            raise ApiError(400, f"metadata may have {call.ports.policy.limits.metadata_bytes_max} bytes as a header")
    types = body.media_types("types", [], items_max=_TYPES_MAX)
    ensure_types_within(call.principal, types)
    ensure_type_named(call.principal, metadata)
    terms = LinkTerms(
        owner=owner_from(call, body),
        seconds=seconds_from(body, "expires_in", _EXPIRY_SECONDS, access.terms.link_seconds_max),
        length=length,
        length_max=length_max,
        metadata=tuple(metadata.items()),
        types=types,
        origins=_origins(body),
        may_download=body.flag("may_download", False),
    )
    link, upload = await create_upload_link(call.ports, terms, call.caller(), EMPTY_BODY)
    await _end_if_revoked(call, _links(access), link)
    await record(call.ports.audit, actor_of(call.caller()), "create", AuditKind.LINK, link.id)
    view = link_view(link, call.ports.clock())
    return {**view, "length": upload.length, "length_max": upload.length_max, "url": _url(call, access, link)}


async def add_download_link(call: Call) -> object:
    """Create a link to the bytes of an upload; its URL is shown only in this response."""
    access = sharing_backends(call)
    links = _links(access)
    body = (await call.json()).only("upload_id", "expires_in", "single_use", "origins")
    upload = await call.visible_upload(body.text("upload_id"))
    if not call.may(Verb.SHARE, upload) or not call.may(Verb.DOWNLOAD, upload):
        raise AccessDenied
    seconds = seconds_from(body, "expires_in", _EXPIRY_SECONDS, access.terms.link_seconds_max)
    is_single_use = body.flag("single_use", False)
    link = await create_download_link(call.ports, links, upload, seconds, _origins(body), is_single_use=is_single_use)
    await _end_if_revoked(call, links, link)
    await record(call.ports.audit, actor_of(call.caller()), "create", AuditKind.LINK, link.id)
    return {**link_view(link, call.ports.clock()), "url": _url(call, access, link)}


async def _end_if_revoked(call: Call, links: Links, link: Link) -> None:
    if await is_revoked(call):
        await revoke_link(call.ports, links, link, None)
        raise CredentialsRevoked


def _url(call: Call, access: AccessPorts, link: Link) -> str:
    is_download = link.kind is LinkKind.DOWNLOAD
    url = call.download_url(link.upload_id) if is_download else f"{call.collection_url()}{link.upload_id}"
    return f"{url}?{link_query(access.signer, link)}"


def _length_max(call: Call, body: JsonBody, length: int | None) -> int | None:
    """The maximum for an upload whose length is deferred; ``None`` if the length is known, or without a limit."""
    limits = call.ports.policy.limits_for(call.principal)
    length_max = body.number("length_max", least=1) if "length_max" in body else None
    if length is not None:
        if length_max is not None and length > length_max:
            raise ApiError(400, "length is greater than length_max")
        return None
    if length_max is not None:
        rules.ensure_allowed_length(length_max, limits)
        return length_max
    if not limits.length_max and call.ports.quotas is not None:
        raise ApiError(400, "length or length_max is needed: the quota of the upload is reserved now")
    return limits.length_max or None


def _origins(body: JsonBody) -> tuple[str, ...]:
    texts = body.texts("origins", [], items_max=20)
    if not all(_ORIGIN.fullmatch(text) for text in texts):
        raise ApiError(400, "origins must be a list of origins in lower case such as https://example.com")
    return tuple(texts)


def listed_owner(call: Call) -> str:
    """The owner of the rows that a list shows: the client; for an admin the ``owner`` in the query, empty for all."""
    if call.may(Verb.OPERATE):
        return call.query.text("owner", 255)
    return call.principal.subject


async def _list(call: Call, kind: LinkKind) -> object:
    links, limit = _links(sharing_backends(call)), call.query.limit()
    name = f"{kind.value}-links"
    before_id = str(parse_cursor(call.query.text("cursor"), name, str)[0]) if "cursor" in call.query else ""
    found = await links.list_links(kind, owner=listed_owner(call), before_id=before_id, limit=limit + 1)
    page, now = found[:limit], call.ports.clock()
    following = format_cursor(name, page[-1].id) if len(found) > limit else None
    return {"links": [link_view(link, now) for link in page], "next": following}


async def _find(call: Call, kind: LinkKind) -> Link:
    """The link, if the client owns it. Raises the same ``ApiError`` for another owner's link and an unknown one."""
    link = await _links(sharing_backends(call)).find(call.path("link_id"))
    if link is None or link.kind is not kind or (link.owner != call.principal.subject and not call.may(Verb.OPERATE)):
        raise ApiError(404, "no link has this id")
    return link


async def _show(call: Call, kind: LinkKind) -> object:
    return link_view(await _find(call, kind), call.ports.clock())


async def _revoke(call: Call, kind: LinkKind) -> None:
    link = await _find(call, kind)
    audit = call.audit("revoke", AuditKind.LINK, link.id)
    await revoke_link(call.ports, _links(sharing_backends(call)), link, call.caller(), audit)


async def list_upload_links(call: Call) -> object:
    return await _list(call, LinkKind.UPLOAD)


async def show_upload_link(call: Call) -> object:
    return await _show(call, LinkKind.UPLOAD)


async def revoke_upload_link(call: Call) -> object:
    await _revoke(call, LinkKind.UPLOAD)
    return None


async def list_download_links(call: Call) -> object:
    return await _list(call, LinkKind.DOWNLOAD)


async def show_download_link(call: Call) -> object:
    return await _show(call, LinkKind.DOWNLOAD)


async def revoke_download_link(call: Call) -> object:
    await _revoke(call, LinkKind.DOWNLOAD)
    return None


_LIST = ("limit", "cursor", "owner")
ROUTES = (
    ApiRoute("GET", "/api/upload-links", list_upload_links, Access.PRINCIPAL, _LIST),
    ApiRoute("POST", "/api/upload-links", add_upload_link, Access.PRINCIPAL, status=201),
    ApiRoute("GET", "/api/upload-links/{link_id}", show_upload_link, Access.PRINCIPAL),
    ApiRoute("DELETE", "/api/upload-links/{link_id}", revoke_upload_link, Access.PRINCIPAL),
    ApiRoute("GET", "/api/download-links", list_download_links, Access.PRINCIPAL, _LIST),
    ApiRoute("POST", "/api/download-links", add_download_link, Access.PRINCIPAL, status=201),
    ApiRoute("GET", "/api/download-links/{link_id}", show_download_link, Access.PRINCIPAL),
    ApiRoute("DELETE", "/api/download-links/{link_id}", revoke_download_link, Access.PRINCIPAL),
)
