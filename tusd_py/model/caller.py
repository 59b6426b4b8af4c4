"""The client that made a request, as hooks, events and logs see it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import field, replace
from typing import Any

from tusd_py.model.frozen import frozen
from tusd_py.model.links import Link
from tusd_py.model.principal import Principal, Role

#: The headers of a request or a response as ASGI has them: lower-case names, values as received, in order, with
#: duplicates.
HeaderList = list[tuple[bytes, bytes]]

#: The headers of a request that events keep. Every other one may contain a credential: services invent names for them.
#: Upload-Metadata and Upload-Concat are not here because the record has their content, as a hook may have changed it,
#: and the URLs of Upload-Concat may contain credentials.
RECORDED_HEADERS = frozenset(
    {
        b"host",
        b"user-agent",
        b"origin",
        b"content-type",
        b"content-length",
        b"content-digest",
        b"repr-digest",
        b"tus-resumable",
        b"upload-length",
        b"upload-defer-length",
        b"upload-offset",
        b"upload-checksum",
        b"upload-complete",
        b"upload-incomplete",
        b"upload-draft-interop-version",
        b"x-http-method-override",
        b"x-request-id",
        b"traceparent",
        b"via",
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-real-ip",
    }
)

_BY_HOOK = frozenset({Role.UPLOADER})


@frozen(kw_only=True)
class Caller:
    """The origin of a request, for hooks, events and logs. The rules of the protocol never depend on it."""

    remote_address: str  # ip:port of the peer; empty on a unix socket
    method: str  # after X-HTTP-Method-Override
    target: str  # raw request target with base path and query
    headers: HeaderList
    owner: str = ""
    principal: Principal | None = None  # None while access control is off
    may_write: bool = True  # False: the request only reads the upload and must not interrupt a request that writes
    # The ASGI scope, for functions of an application that mounts the server; never recorded.
    scope: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    new_link: Link | None = None  # the upload link that the request makes, recorded with its upload
    # Whether its client has closed the connection; None if the HTTP server cannot say.
    is_gone: Callable[[], bool] | None = field(default=None, repr=False, compare=False)
    client: str = ""  # what limits for each client count by: an address, or empty if it is unknown

    def acting_for(self, owner: str) -> Caller:
        """The caller of a request that a hook has authorised in the name of ``owner``."""
        if self.principal is None or owner == self.principal.subject:
            return replace(self, owner=owner)
        return replace(self, owner=owner, principal=Principal(subject=owner, roles=_BY_HOOK, method="hook"))

    def recorded(self, named_headers: Collection[bytes] = ()) -> Caller:
        """The caller without what may be a credential: the query, and headers not in ``RECORDED_HEADERS``.

        ``named_headers`` (in lower case) stay too: the operator has named them for hooks.
        """
        kept = [header for header in self.headers if header[0] in RECORDED_HEADERS or header[0] in named_headers]
        target = self.target.partition("?")[0]
        return replace(self, principal=None, scope=None, is_gone=None, new_link=None, target=target, headers=kept)
