"""A separate origin for downloads (``server.download_url``): cookies and user content do not belong together.

A file of a user that a browser displays can do at its origin what the pages of that origin can. So content is only
sent to browsers at another origin of the same server, where no cookies count and nothing else is served.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from starlette.types import Scope

from tusd_py.access.download_tokens import download_query
from tusd_py.access.ports import AccessPorts
from tusd_py.model.principal import Principal
from tusd_py.protocol.access_errors import DownloadRefused, DownloadsOnly
from tusd_py.protocol.headers import Headers
from tusd_py.protocol.outcomes import Redirected
from tusd_py.protocol.requests import Discover, Download, Inspect, Request
from tusd_py.web.location import Locator

#: The scheme of Authorization before a token.
BEARER = b"bearer "


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadOrigin:
    """``url`` is that of the collection at the origin of downloads.

    Requests without ``redirects`` are refused at the other origin instead.
    """

    url: str
    locator: Locator
    redirects: bool = True

    def is_at(self, scope: Scope, headers: Headers) -> bool:
        """Whether the request was sent to the origin of downloads."""
        host = self.locator.forwarded(scope, headers).host or headers.get(b"host") or ""
        return host.lower() == urlsplit(self.url).netloc.lower()

    def check(self, scope: Scope, headers: Headers, request: Request) -> None:
        """Raise ``DownloadsOnly`` for what is not done at this origin."""
        if not isinstance(request, Download | Inspect | Discover) and self.is_at(scope, headers):
            raise DownloadsOnly

    def redirection(
        self,
        scope: Scope,
        headers: Headers,
        request: Download,
        principal: Principal | None,
        access: AccessPorts | None,
    ) -> Redirected | None:
        """Where a permitted download goes on; ``None`` if its bytes are sent here. Raises ``DownloadRefused``.

        Programs that send a token in ``Authorization`` get the bytes everywhere: no browser displays what it gets like
        that. Other schemes do not count: a browser adds the password of a proxy (Basic) by itself.
        """
        scheme = (headers.get_bytes(b"authorization") or b"")[: len(BEARER)].lower()
        if self.is_at(scope, headers) or scheme == BEARER:
            return None
        if not self.redirects:
            raise DownloadRefused
        return Redirected(url=self.url_of(request.upload_id) + self._query(scope, request, principal, access))

    def url_of(self, upload_id: str) -> str:
        """The URL of an upload at the origin of downloads."""
        return self.url.rstrip("/") + "/" + quote(upload_id)

    def _query(self, scope: Scope, request: Download, principal: Principal | None, access: AccessPorts | None) -> str:
        if principal is None or principal.is_anonymous or access is None:
            return ""
        if principal.method == "link":
            # The link itself is what its bearer was given; it may be for a single use.
            query: bytes = scope.get("query_string", b"")
            return "?" + query.decode("latin-1")
        return "?" + download_query(access.signer, request.upload_id, access.clock())
