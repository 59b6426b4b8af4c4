"""Signs of a proxy between client and server, trusted or not, and what is left out where there is one.

Many proxies take an interim response with status 104 for the final response, and drop trailers. So both are off where a
request shows a proxy, unless the operator knows better. A proxy that adds no header is not recognised.
"""

from __future__ import annotations

from typing import Literal

from tusd_py.protocol.headers import Headers

#: Headers that proxies add.
PROXY_HEADERS = frozenset(
    {
        b"via",
        b"forwarded",
        b"x-forwarded",
        b"x-forwarded-by",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-path",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-scheme",
        b"x-forwarded-server",
        b"x-forwarded-ssl",
        b"x-real-ip",
    }
)

#: When to use what proxies may break: ``auto`` is whenever no proxy shows.
Use = Literal["auto", "always", "never"]


def is_proxied(headers: Headers) -> bool:
    """Whether a header shows a proxy between client and server."""
    return headers.has_any(PROXY_HEADERS)


def is_usable(use: Use, headers: Headers) -> bool:
    """Whether to use what ``use`` is set for, in answering a request with these headers."""
    return use == "always" or (use == "auto" and not is_proxied(headers))
