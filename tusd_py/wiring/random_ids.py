"""The ids of new uploads."""

from __future__ import annotations

from os import urandom

_ID_BYTES = 16
#: How many are made by one system call, of 16 bytes each.
_MADE_TOGETHER = 64


class RandomIds:
    """Makes ids of 128 random bits: a client that knows the URL of an upload may write to it.

    The system call for random bytes takes 1 µs and hardly more for many of them. An object must be used by one process
    only: one that is forked would make the same ids.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []

    def next(self) -> str:
        """A new id."""
        try:
            return self._ids.pop()
        except IndexError:
            digits = urandom(_ID_BYTES * _MADE_TOGETHER).hex()
            size = 2 * _ID_BYTES
            first, *others = (digits[at : at + size] for at in range(0, len(digits), size))
            self._ids += others
            return first
