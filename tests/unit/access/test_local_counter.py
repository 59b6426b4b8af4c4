"""The counts of one process: what they remember, and for how long."""

from __future__ import annotations

import time
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest

from tusd_py.access import local_counter
from tusd_py.access.local_counter import LocalCounter
from tusd_py.model.rates import Rate

pytestmark = pytest.mark.anyio


async def test_keys_are_forgotten_after_their_window() -> None:
    """Clients that come once leave nothing behind: neither addresses nor names of failed logins."""
    clock = SimpleNamespace(now=0.0)
    counter = LocalCounter(lambda: clock.now)
    for number in range(1000):
        await counter.hit(Rate(5), f"create from {number}")
        clock.now += 1
    assert len(counter._acts) <= 61


async def test_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many addresses at once that they cannot all be remembered: the oldest are forgotten, one that acts is not."""
    monkeypatch.setattr(local_counter, "KEYS_MAX", 100)
    counter = LocalCounter()
    for number in range(1000):
        await counter.hit(Rate(1), f"create from {number}")
        await counter.hit(Rate(1000), "create user:alice")
    assert len(counter._acts) == 100
    assert await counter.wait_seconds(Rate(1), "create from 999") > 0
    assert len(counter._acts[Rate(1000), "create user:alice"]) == 1000


async def test_act_that_is_taken_back() -> None:
    """It makes room for another one, and leaves nothing behind; without an act nothing happens."""
    counter = LocalCounter()
    rate = Rate(2)
    counter.take_back(rate, "k")
    assert [0.0, 0.0] == [counter.hit_now(rate, "k") for _ in range(2)]
    assert counter.wait_seconds_now(rate, "k") > 0
    counter.take_back(rate, "k")
    assert 0.0 == counter.wait_seconds_now(rate, "k")
    counter.take_back(rate, "k")
    assert not counter._acts


async def test_machine_time_that_is_set_back_locks_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client waits at most for the window, whatever the clock of the machine says meanwhile."""
    counter = LocalCounter()
    assert await counter.hit(Rate(1), "k") == 0
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0 < await counter.hit(Rate(1), "k") <= 60


async def test_many_keys_cost_no_more_than_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """An act looks at a few of the other keys only, however many there are."""
    looked_at = 0

    class Acts(OrderedDict[Any, Any]):
        def items(self) -> Any:
            nonlocal looked_at
            for item in super().items():
                looked_at += 1
                yield item

    monkeypatch.setattr(local_counter, "OrderedDict", Acts)
    counter = LocalCounter()
    for number in range(1000):
        await counter.hit(Rate(5), f"create from {number}")
    assert 0 < looked_at <= 2 * 1000
