"""The ``Date`` header of a response: the second in which the response is sent (RFC 9110, 6.6.1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any


class ResponseDate(list[tuple[bytes, bytes]]):
    """uvicorn's default headers, renewed when they are read.

    uvicorn renews its own about once a second and gives them to a request when it begins: after a body that took ten
    minutes ``Date`` would be ten minutes old, and an end that a client adds up from ``Date`` would be too early.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__([(b"date", b"")])
        self._clock = clock
        self._second = -1
        self._lines = b""

    @property
    def lines(self) -> bytes:
        """The headers as lines with their ends."""
        self._renew()
        return self._lines

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        self._renew()
        return super().__iter__()

    def __add__(self, other: list[Any], /) -> list[Any]:
        self._renew()
        return super().__add__(other)

    def _renew(self) -> None:
        second = int(self._clock())
        if second != self._second:
            self._second = second
            date = formatdate(second, usegmt=True).encode("ascii")
            self[0] = (b"date", date)
            self._lines = b"date: " + date + b"\r\n"
