"""A mapping of bounded size, which forgets first what was remembered longest ago."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(dict[K, V]):
    """At most ``entries_max`` entries. Add them with ``remember``; look-ups are those of a mapping, as fast."""

    def __init__(self, entries_max: int) -> None:
        super().__init__()
        self._entries_max = entries_max

    def remember(self, key: K, value: V) -> None:
        """Set an entry as the newest; evict the oldest if there are too many."""
        self.pop(key, None)
        self[key] = value
        if len(self) > self._entries_max:
            del self[next(iter(self))]
