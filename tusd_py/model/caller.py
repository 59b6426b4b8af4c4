"""The client behind a request, as hooks, events and logs see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Raw headers as an ASGI server passes them: lower-case names, values as received, duplicates kept, in order.
HeaderList = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, for hooks and logs: never used to decide what the protocol allows."""

    remote_address: str  # ip:port of the peer, or "" on a unix socket
    method: str  # after X-HTTP-Method-Override
    target: str  # raw request target with base path and query
    headers: HeaderList
    owner: str = ""
