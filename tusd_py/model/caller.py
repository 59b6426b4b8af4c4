"""The client that made a request, as hooks, events and logs see it."""

from __future__ import annotations

from dataclasses import dataclass

#: The headers of a request or a response as ASGI has them: lower-case names, values as received, in order, with
#: duplicates.
HeaderList = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The origin of a request, for hooks, events and logs. The rules of the protocol never depend on it."""

    remote_address: str  # ip:port of the peer; empty on a unix socket
    method: str  # after X-HTTP-Method-Override
    target: str  # raw request target with base path and query
    headers: HeaderList
    owner: str = ""
    client: str = ""  # what limits for each client count by: an address, or empty if it is unknown
