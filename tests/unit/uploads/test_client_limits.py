"""Limits for each client: slots for concatenations, and uploads without a byte."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

import pytest

from tests.support.harness import CALLER, UploadsHarness, cut
from tests.support.virtual_time import VIRTUAL_TIME
from tusd_py.protocol.concat_errors import TooManyConcatenations
from tusd_py.protocol.errors import BodyIncomplete, TooManyEmptyUploads
from tusd_py.uploads import client_limits
from tusd_py.uploads.client_limits import WAITING_MAX, ConcatenationSlots, EmptyUploads

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


class TestConcatenationSlots:
    async def test_clients_do_not_wait_for_each_other(self) -> None:
        """The second of a client waits, bounded in time; another client does not."""
        slots = ConcatenationSlots(1)
        async with slots.acquired("a", 1), slots.acquired("b", 1):
            with pytest.raises(TooManyConcatenations):
                async with slots.acquired("a", 1):
                    raise AssertionError("the slot is in use")
        async with slots.acquired("a", 1):
            pass
        assert slots._clients == {}

    async def test_waiting_is_bounded(self) -> None:
        """One client has at most ``WAITING_MAX`` waiting, and all of them run in the end."""
        slots = ConcatenationSlots(2)
        done = 0

        async def concatenate() -> None:
            nonlocal done
            async with slots.acquired("a", None):
                await asyncio.sleep(1)
                done += 1

        tasks = [asyncio.ensure_future(concatenate()) for _ in range(2 + WAITING_MAX)]
        await asyncio.sleep(0.5)
        with pytest.raises(TooManyConcatenations):
            slots.ensure_available("a")
        slots.ensure_available("b")
        await asyncio.sleep(1)
        slots.ensure_available("a")
        await asyncio.gather(*tasks)
        assert done == 2 + WAITING_MAX
        assert slots._clients == {}

    async def test_cancelled_wait_frees_its_place(self) -> None:
        """A caller that gives up while it waits leaves nothing behind."""
        slots = ConcatenationSlots(1)
        async with slots.acquired("a", None):
            waiting = asyncio.ensure_future(slots.acquired("a", None).__aenter__())
            await asyncio.sleep(0.1)
            waiting.cancel()
            await asyncio.wait([waiting])
        assert slots._clients == {}


class Empty:
    """Stands for the records: ``ids`` are those that are still empty."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.queries = 0

    async def find(self, ids: Collection[str]) -> set[str]:
        self.queries += 1
        await asyncio.sleep(0.01)
        return self.ids & set(ids)


class TestEmptyUploads:
    async def test_limit_per_client(self) -> None:
        """A client at its limit is refused, another one is not; 0 and unknown clients have no limit."""
        uploads, empty = EmptyUploads(3), Empty()
        for number in range(3):
            await uploads.ensure_allowed("a", empty.find)
            uploads.add("a", f"u{number}")
            empty.ids.add(f"u{number}")
        with pytest.raises(TooManyEmptyUploads):
            await uploads.ensure_allowed("a", empty.find)
        await uploads.ensure_allowed("b", empty.find)
        for unlimited, client in ((EmptyUploads(0), "a"), (EmptyUploads(1), "")):
            for _ in range(9):
                await unlimited.ensure_allowed(client, empty.find)
                unlimited.add(client, "x")

    async def test_uploads_with_bytes_are_forgotten(self) -> None:
        """A client whose uploads receive bytes is never refused, also with many requests at once."""
        uploads, empty = EmptyUploads(100), Empty()

        async def create(number: int) -> None:
            await uploads.ensure_allowed("a", empty.find)
            uploads.add("a", str(number))

        for start in range(0, 5000, 50):
            await asyncio.gather(*(create(number) for number in range(start, start + 50)))
        assert len(uploads._clients["a"].ids()) <= 150
        assert empty.queries <= 110
        assert uploads._remembered == len(uploads._clients["a"].ids())

    async def test_refused_client_does_not_query_each_time(self) -> None:
        """While a client stays at its limit, the records are asked every five seconds; then it may go on."""
        uploads, empty = EmptyUploads(100), Empty()
        empty.ids = {str(number) for number in range(100)}
        for number in range(100):
            uploads.add("a", str(number))
        refused = 0
        for number in range(150):
            if number == 70:
                empty.ids.clear()
            try:
                await uploads.ensure_allowed("a", empty.find)
            except TooManyEmptyUploads:
                refused += 1
            await asyncio.sleep(0.1)
        assert 70 <= refused < 150
        assert empty.queries <= 3

    async def test_memory_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Beyond the bound the clients that were idle longest are forgotten."""
        monkeypatch.setattr(client_limits, "REMEMBERED_MAX", 1000)
        uploads = EmptyUploads(10)
        for number in range(10_000):
            uploads.add(f"client {number // 10}", str(number))
        assert uploads._remembered <= 1000
        assert sum(len(created.ids()) for created in uploads._clients.values()) == uploads._remembered


async def test_create_counts_empty_uploads() -> None:
    """Creations without a byte count, deferred and cut ones too; complete and begun ones do not."""
    harness = UploadsHarness(empty_uploads_max=4, caller=replace(CALLER, client="192.0.2.1"))
    for _ in range(5):
        await harness.create(0)
        await harness.create(3, b"ab")
    await harness.create(3)
    await harness.create(None)
    await harness.create(3, b"")
    with pytest.raises(BodyIncomplete):
        await harness.create(3, body=cut())
    with pytest.raises(TooManyEmptyUploads):
        await harness.create(3)
    harness.caller = CALLER
    await harness.create(3)
