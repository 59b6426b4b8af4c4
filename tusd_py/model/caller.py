"""The client behind a request, as hooks, events and logs see it."""

from __future__ import annotations

from dataclasses import dataclass

#: The headers of a request or a response as ASGI has them: lower-case names, values as received, in order, with
#: duplicates.
HeaderList = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, for hooks and logs: never used to decide what the protocol allows."""

    remote_address: str  # ip:port of the peer, or "" on a unix socket
    method: str  # after X-HTTP-Method-Override
    target: str  # raw request target with base path and query
    headers: HeaderList
    owner: str = ""
