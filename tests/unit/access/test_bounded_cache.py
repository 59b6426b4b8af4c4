"""The bound of the caches of access control."""

from __future__ import annotations

from tusd_py.access.bounded_cache import BoundedCache


def test_the_entry_set_longest_ago_is_evicted() -> None:
    """Beyond the limit each new entry evicts one; an entry that is set again is the newest, one that is read is not."""
    cache = BoundedCache[str, int](3)
    for number, key in enumerate("abca"):
        cache.remember(key, number)
    assert cache.get("b") == 1
    cache.remember("d", 4)
    assert list(cache.items()) == [("c", 2), ("a", 3), ("d", 4)]
