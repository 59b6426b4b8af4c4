"""The ids of new uploads."""

from __future__ import annotations

from os import urandom

#: How many random bytes an id has of its own, and how many it shares with the others that are made together.
_OWN_BYTES, _SHARED_BYTES = 14, 2
_MADE_TOGETHER = 64


class RandomIds:
    """Makes ids of 128 random bits, of which 112 are drawn for each: a client that knows an id may write to its upload.

    Ids that are made one after the other share the other bits, so that a database inserts them side by side: a
    transaction changes one page of an index instead of one for each upload, and an index that is larger than the memory
    is read rarely. One system call makes random bytes for many ids, which takes hardly longer than for one.

    An object must be used by one process only: one that is forked would make the same ids.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []

    def next(self) -> str:
        """A new id."""
        try:
            return self._ids.pop()
        except IndexError:
            shared, own = urandom(_SHARED_BYTES).hex(), urandom(_OWN_BYTES * _MADE_TOGETHER).hex()
            size = 2 * _OWN_BYTES
            first, *others = (shared + own[at : at + size] for at in range(0, len(own), size))
            self._ids += others
            return first
