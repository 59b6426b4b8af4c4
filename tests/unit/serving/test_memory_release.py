"""When memory is released: after many connections have closed, and not often."""

from __future__ import annotations

import gc
import weakref
from itertools import pairwise

import pytest

from tusd_py.serving.memory_release import MemoryRelease, release_memory


def releases(counts: list[int], seconds: float = 1.0) -> list[int]:
    """The turns at which memory is released, when the connections are counted once in ``seconds``."""
    release = MemoryRelease()
    return [turn for turn, count in enumerate(counts) if release.is_due(count, turn * seconds)]


def test_many_closed_connections_release_once() -> None:
    """Some seconds after more than half of them have closed memory is released, and not again."""
    assert releases([0, 1000, 1000, *[20] * 40]) == [6]


def test_few_or_less_than_half_release_nothing() -> None:
    """A busy server, whose number of connections varies, is left alone."""
    assert releases([0, 90, *[0] * 40]) == []
    assert releases([0, 1000, *[501] * 40]) == []


def test_connections_that_come_back_release_nothing() -> None:
    """Clients that reconnect within a moment have not freed their memory for long."""
    assert releases([0, *[1000, 0] * 40]) == []


def test_floods_release_at_most_every_ten_seconds() -> None:
    """However often many connections are opened and closed."""
    found = releases([0, *[1000, 0, 0, 0, 0] * 40])
    assert len(found) > 5
    assert min(later - earlier for earlier, later in pairwise(found)) >= 10


class _Cycle:
    def __init__(self) -> None:
        self.itself = self


@pytest.mark.anyio
async def test_release_collects_garbage() -> None:
    """Reference cycles are freed, and the allocator is called without an error."""
    gc.disable()
    try:
        found = weakref.ref(_Cycle())
        assert found() is not None
        await release_memory()
        assert found() is None
    finally:
        gc.enable()
