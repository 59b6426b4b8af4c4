"""Refuses requests that web pages of other origins make a browser send and that would change state (CSRF).

It protects the JSON API and the pages, which have no accounts and are often protected by the network alone: a page of
any site could use the browser of an operator to reach them. The tus endpoint is not affected; it follows CORS.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.types import Scope

from tusd_py.model.addresses import parse_address
from tusd_py.protocol.headers import Headers
from tusd_py.web.location import Locator

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

#: Top-level domains in which no name can be registered: reserved ones, and those that private networks use.
_PRIVATE_DOMAINS = frozenset(
    {"localhost", "local", "internal", "home.arpa", "lan", "home", "corp", "test", "example", "invalid"}
)


class CrossOriginPolicy:
    """Which requests are refused. ``allow_origins`` are the named origins of ``cors``; ``*`` does not count there.

    Browsers say where a request comes from in ``Sec-Fetch-Site``, older ones and those on plain HTTP in ``Origin``.
    Other clients send neither of them and are never refused.
    """

    def __init__(self, *, locator: Locator, allow_origins: Sequence[str] = ()) -> None:
        named = {origin.lower() for origin in allow_origins if origin != "*"}
        if locator.public_url:
            parts = urlsplit(locator.public_url)
            named.add(f"{parts.scheme}://{parts.netloc}".lower())
        self._locator = locator
        self._named = frozenset(named)

    def refuses(self, scope: Scope) -> bool:
        """Whether the request is refused: it may change state, and a page of an origin without permission sent it."""
        if scope["method"] in _SAFE_METHODS:
            return False
        headers = Headers(scope["headers"])
        origin = headers.get(b"origin")
        if origin is not None and origin.lower() in self._named:
            return False
        site = headers.get(b"sec-fetch-site")
        if site is not None:
            # "none": the user entered the address. Pages of the same site but another origin are refused, too.
            return site.lower() not in ("same-origin", "none")
        return origin is not None and not self._is_own(origin, scope, headers)

    def _is_own(self, origin: str, scope: Scope, headers: Headers) -> bool:
        """Whether ``origin`` has the host and the port by which the browser knows this server.

        The scheme is not compared, because a proxy may have ended TLS. A public name on plain HTTP proves nothing: its
        owner can let it resolve to this server (DNS rebinding), and then the host is that of the page. With TLS the
        certificate would be wrong, and browsers send ``Sec-Fetch-Site``.
        """
        scheme, separator, authority = origin.lower().partition("://")
        if not separator or scheme not in ("http", "https"):
            return False
        if scheme == "http" and _is_public_name(authority):
            return False
        own = (headers.get(b"host") or "", self._locator.forwarded(scope, headers).host)
        return authority in {host.lower() for host in own if host}


def _is_public_name(authority: str) -> bool:
    """Whether the host is a name that can be registered: no address, no single label, no private domain."""
    name = authority.rpartition(":")[0] if authority.rpartition(":")[2].isdecimal() else authority
    if parse_address(name.strip("[]")) is not None:
        return False
    labels = name.rstrip(".").split(".")
    return len(labels) > 1 and not _PRIVATE_DOMAINS.intersection((labels[-1], ".".join(labels[-2:])))
