"""A worker's counts of delivered hooks are saved together, and never lost by a stop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from tests.support.virtual_time import VIRTUAL_TIME
from tusd_py.contracts.hook_counts import HookCount
from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.model.hooks import Hook
from workers.hook_counter import HookCounter

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


class Totals:
    """Remembers what is added; fails while ``fails``."""

    def __init__(self) -> None:
        self.added: list[tuple[Hook, HookCount]] = []
        self.fails = False

    async def add(self, hook: Hook, count: HookCount) -> None:
        if self.fails:
            raise RecordsUnavailable("no")
        self.added.append((hook, count))

    async def totals(self) -> Mapping[Hook, HookCount]:
        return {}


async def test_counts_of_a_second_are_saved_together() -> None:
    """One row for each hook, a second after the first count; then the next second begins."""
    totals = Totals()
    counter = HookCounter(totals)
    for failed in (False, True, False):
        counter.count(Hook.POST_FINISH, failed=failed)
    counter.count(Hook.POST_CREATE, failed=False)
    await asyncio.sleep(1.1)
    assert [(Hook.POST_FINISH, (3, 1)), (Hook.POST_CREATE, (1, 0))] == totals.added
    counter.count(Hook.POST_CREATE, failed=True)
    await asyncio.sleep(1.1)
    assert (Hook.POST_CREATE, (1, 1)) == totals.added[-1]
    await counter.close()
    assert 3 == len(totals.added)


async def test_a_stop_saves_what_is_left() -> None:
    """Without waiting for the end of the second."""
    totals = Totals()
    counter = HookCounter(totals)
    counter.count(Hook.POST_FINISH, failed=False)
    await counter.close()
    assert [(Hook.POST_FINISH, (1, 0))] == totals.added


async def test_a_failure_is_logged_only(caplog: pytest.LogCaptureFixture) -> None:
    """A database that cannot be reached loses counts, and stops no worker."""
    totals = Totals()
    totals.fails = True
    counter = HookCounter(totals)
    counter.count(Hook.POST_FINISH, failed=False)
    await asyncio.sleep(1.1)
    assert "could not record counts of hooks" in caplog.text
    await counter.close()
