"""The ids of requests, for logs and the header ``X-Request-ID``: the client's own if it is valid, else a new one."""

from __future__ import annotations

import re
import secrets
from itertools import count

_VALID = re.compile(rb"[A-Za-z0-9._-]{1,36}\Z")


class RequestIds:
    """Gives each request an id. New ones are a random prefix and a number: they are unique, but no secrets.

    A random number of the kernel for each request would take a microsecond.
    """

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(4)
        self._numbers = count(1)

    def of(self, sent: bytes | None) -> bytes:
        """``sent`` by the client if it is valid, else a new id."""
        if sent is not None and _VALID.match(sent):
            return sent
        return f"{self._prefix}{next(self._numbers):08x}".encode()
