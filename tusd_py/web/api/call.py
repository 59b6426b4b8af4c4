"""One request to the API, and the description of a route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from starlette.requests import Request
from starlette.types import Scope

from tusd_py.access.audit import entries, requested_id
from tusd_py.access.policy import AccessPolicy
from tusd_py.model.audit import AuditActor, AuditEntry, AuditKind
from tusd_py.model.caller import Caller
from tusd_py.model.ids import known_id
from tusd_py.model.principal import Principal, Verb
from tusd_py.model.text import valid_unicode
from tusd_py.model.upload import Kind, Upload
from tusd_py.protocol.access_errors import Unauthenticated
from tusd_py.protocol.errors import AccessDenied, UploadNotFound
from tusd_py.uploads.ports import Ports
from tusd_py.web.api.json_body import JsonBody, read_json
from tusd_py.web.api.problems import ApiError
from tusd_py.web.api.query import ApiQuery
from tusd_py.web.api.request_bodies import BodyOpener
from tusd_py.web.health import Readiness
from tusd_py.web.session_cookies import SessionCookies

_Port = TypeVar("_Port")


class Access(Enum):
    """Which clients may use a route that filters its rows itself; a route for roles has a ``Verb`` instead."""

    OPEN = "open"  # every client; credentials are not looked at
    CLIENT = "client"  # principals, and anonymous clients where the server lets them upload
    PRINCIPAL = "principal"  # principals only, once access control is on
    BEARER = "bearer"  # principals, including the bearers of links and codes, which all other routes refuse


def _default_collection(_scope: Scope) -> str:
    return "/files/"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """The parts of the server that the API uses: URLs, readiness, shutdown, enabled schedules."""

    locate: Callable[[Scope], str] = _default_collection  # the URL of the collection, as the client sees it
    download_url: str = ""  # that of the collection at the origin of downloads, if there is one
    is_draining: Callable[[], bool] = lambda: False  # whether the server is shutting down
    readiness: Readiness | None = None
    schedules: frozenset[str] = frozenset()  # the names of those that are on
    bodies: BodyOpener | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, as handlers get it. ``policy`` is ``None`` while access control is off."""

    ports: Ports
    principal: Principal
    policy: AccessPolicy | None
    request: Request
    query: ApiQuery
    address: str  # by which anonymous clients are told apart
    context: ApiContext = ApiContext()
    session_cookies: SessionCookies | None = None  # None where accounts have no cookies

    def path(self, name: str) -> str:
        """A parameter of the path. Raises ``ApiError`` 404 for a text that no database holds: nothing has this name."""
        text = str(self.request.path_params[name])
        if text != valid_unicode(text):
            raise ApiError(404, "nothing has this name or id")
        return text

    def path_number(self, name: str, sentence: str) -> int:
        """A parameter of the path that is a number. Raises ``ApiError`` 404 with ``sentence``."""
        text = self.path(name)
        if not (text.isascii() and text.isdecimal() and len(text) <= 18):
            raise ApiError(404, sentence)
        return int(text)

    def audit(self, verb: str, kind: AuditKind, object_id: str) -> tuple[AuditEntry, ...]:
        """The entry of the audit log about what this request does, for the transaction that does it."""
        actor = AuditActor.of(None if self.policy is None else self.principal, self.address)
        return entries(self.ports.audit, actor, verb, kind, object_id)

    async def json(self) -> JsonBody:
        """The body of the request. Raises ``ApiError``."""
        return await read_json(self.request)

    def collection_url(self) -> str:
        """The URL of the collection of uploads as the client sees it, with a slash at its end."""
        return self.context.locate(self.request.scope)

    def download_url(self, upload_id: str) -> str:
        """Where browsers download an upload."""
        collection = self.context.download_url or self.collection_url()
        return f"{collection.rstrip('/')}/{upload_id}"

    def ensure_not_limited(self, what: str) -> None:
        """Raise ``AccessDenied`` for credentials with limits of their own: what they make would not have these."""
        general, quotas = self.ports.policy.limits, self.ports.quotas
        limits = self.principal.limits
        is_limited = limits.types is not None or self.ports.policy.limits_for(self.principal) != general
        if quotas is not None:
            pairs = zip(quotas.limits_for(self.principal), quotas.limits, strict=True)
            is_limited |= any(own is not None and (most is None or own < most) for own, most in pairs)
        if is_limited and not self.may(Verb.OPERATE):
            raise AccessDenied(f"these credentials have limits that {what} would not have")

    def ensure_switched_on(self, is_on: bool, setting: str) -> None:
        """Raise ``AccessDenied`` for what a setting forbids clients, except for an admin that access control knows."""
        if not is_on and (self.policy is None or not self.may(Verb.OPERATE)):
            raise AccessDenied(f"this is switched off ({setting})")

    def is_draining(self) -> bool:
        """Whether the server is shutting down: a response that lasts (server-sent events) must end."""
        return self.context.is_draining()

    def may(self, verb: Verb, upload: Upload | None = None) -> bool:
        """Whether the principal may do this to ``upload``, or to what is about no upload."""
        return self.policy is None or self.policy.permits(self.principal, verb, upload)

    async def visible_upload(self, upload_id: str) -> Upload:
        """The upload, if the principal may inspect it. Raises the same ``ApiError`` for foreign and unknown ones."""
        known = known_id(upload_id)
        upload = None if known is None else await self.ports.records.find(known, with_parts=False)
        if upload is not None and upload.kind is Kind.FINAL and self.may(Verb.INSPECT, upload):
            upload = await self.ports.records.find(upload.id)
        if upload is None or not self.may(Verb.INSPECT, upload):
            if self.policy is not None and self.ports.audit is not None:
                actor = AuditActor.of(self.principal, self.address)
                self.ports.audit.record_refusal(actor, "inspect", AuditKind.UPLOAD, requested_id(upload_id), "404")
            raise unknown_upload()
        return upload

    def caller(self) -> Caller:
        """The origin of the request, for the use cases, hooks and events."""
        scope = self.request.scope
        client = scope.get("client")
        target = scope.get("raw_path") or scope["path"].encode()
        return Caller(
            remote_address=f"{client[0]}:{client[1]}" if client else "",
            method=self.request.method,
            target=target.decode("latin-1"),  # without the query, which may have a token
            headers=scope["headers"],
            owner=self.principal.subject,
            principal=None if self.policy is None else self.principal,
            scope=scope,
            client=self.address,
        )


Handler = Callable[[Call], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class ApiRoute:
    """A method of a path below ``/api``, its handler, and the access that it needs.

    ``query`` are the parameters that the query may have; others are refused. ``status`` is that of a result that is not
    a ``Response``; a result of ``None`` becomes a response without content.
    """

    method: str
    path: str
    handler: Handler
    access: Verb | Access
    query: tuple[str, ...] = ()
    status: int = 200


def unknown_upload() -> ApiError:
    """The error for an id that no upload has, or one of another owner."""
    return ApiError(404, "no upload has this id", UploadNotFound.code)


def available(port: _Port | None, sentence: str) -> _Port:
    """``port``, if the server has it. Raises ``ApiError`` 404 with a sentence that names the setting."""
    if port is None:
        raise ApiError(404, sentence)
    return port


def ensure_permitted(access: Verb | Access, principal: Principal, policy: AccessPolicy) -> None:
    """Raise ``Unauthenticated`` if an anonymous client may not use a route with this ``access``."""
    is_refused = access in (Access.PRINCIPAL, Access.BEARER) or not policy.allows_anonymous
    if access is not Access.OPEN and principal.is_anonymous and is_refused:
        raise Unauthenticated
