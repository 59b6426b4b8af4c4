"""The contracts of messages and of wake-ups between processes, as tests to inherit. Both may be lost.

By messages lockers wake each other: those with files by a ``Notifier``, those with leases by ``Leases.send``. By
wake-ups workers learn of new jobs.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.waiting import eventually

#: Never waited for, unless a message is really lost.
LONG_SECONDS = 60.0
#: As long as the longest that a locker sends: "want", a key of 128 characters, an address.
LONGEST = "want " + "k" * 128 + " 1234567890-0123456789abcdef.sock"


class End(Protocol):
    """One process: it has an address, sends messages to others, and receives those for its address."""

    @property
    def address(self) -> str:
        """Where others send messages for this one."""
        ...

    def send(self, address: str, message: str) -> None:
        """Send a message; never waits and never raises."""
        ...

    async def close(self) -> None:
        """Receive no more messages."""
        ...


class NotifierContract(ABC):
    """Inherit as ``class TestX(NotifierContract)``. All ends of one ``directory`` reach each other."""

    pytestmark = pytest.mark.anyio

    @abstractmethod
    def open(self, directory: Path, on_message: Callable[[str], None]) -> End: ...

    @abstractmethod
    async def interrupt(self) -> None:
        """End and start again what carries the messages, if that is more than the kernel."""

    @asynccontextmanager
    async def ends(self, directory: Path, number: int) -> AsyncIterator[list[tuple[End, list[str]]]]:
        """This many ends which receive messages, each with the list of those that it has received."""
        opened: list[tuple[End, list[str]]] = []
        try:
            for _ in range(number):
                received: list[str] = []
                opened.append((self.open(directory, received.append), received))
            for end, received in opened:
                await reached(end, end, received)
            yield opened
        finally:
            for end, _ in opened:
                await asyncio.wait_for(end.close(), LONG_SECONDS)

    async def test_message_reaches_its_address_only(self, tmp_path: Path) -> None:
        """Only the addressed end gets a message, as it was sent, once; in both directions."""
        async with self.ends(tmp_path, 3) as [(one, first), (two, second), (three, third)]:
            one.send(two.address, "hello ü")
            three.send(one.address, LONGEST)
            await eventually(lambda: bool(plain(first) and plain(second)), "both arrive", LONG_SECONDS)
            for end, received in ((one, first), (two, second), (three, third)):
                await reached(two, end, received)
            assert (plain(first), plain(second), plain(third)) == ([LONGEST], ["hello ü"], [])

    async def test_addresses_differ_and_can_be_a_word_of_a_message(self, tmp_path: Path) -> None:
        """Each end has an address of its own, without spaces."""
        async with self.ends(tmp_path, 3) as opened:
            addresses = {end.address for end, _ in opened}
            assert len(addresses) == 3
            assert all(address and len(address.split()) == 1 for address in addresses)

    async def test_messages_come_on_the_event_loop(self, tmp_path: Path) -> None:
        """The function is called in the thread of the event loop, so that it needs no lock."""
        threads: set[int] = set()
        end = self.open(tmp_path, lambda _: threads.add(threading.get_ident()))
        await until_sent(end, end, lambda: bool(threads))
        await end.close()
        assert threads == {threading.get_ident()}

    async def test_unknown_address_is_no_error(self, tmp_path: Path) -> None:
        """A message to an end that was closed, or never existed, is lost; others still arrive."""
        async with self.ends(tmp_path, 2) as [(one, _), (two, received)]:
            gone = self.open(tmp_path, lambda _: None)
            await gone.close()
            for address in (gone.address, "1-0000000000000000.sock", "nowhere"):
                one.send(address, "lost")
            await reached(one, two, received)

    async def test_closed_end_receives_nothing(self, tmp_path: Path) -> None:
        """After ``close`` the function is not called any more, even for messages that were sent before."""
        async with self.ends(tmp_path, 1) as [(one, received)]:
            heard: list[str] = []
            leaving = self.open(tmp_path, heard.append)
            await until_sent(one, leaving, lambda: bool(heard))
            for _ in range(10):
                one.send(leaving.address, "late")
            await leaving.close()
            before = len(heard)
            one.send(leaving.address, "later")
            await reached(one, one, received)
            assert len(heard) == before

    async def test_burst_neither_waits_nor_raises(self, tmp_path: Path) -> None:
        """More messages than can be under way are sent without a wait; some may be lost, and later ones arrive."""
        async with self.ends(tmp_path, 2) as [(one, _), (two, received)]:
            for number in range(1500):
                one.send(two.address, f"burst {number}")
            await reached(one, two, received)
            burst = plain(received)
            assert len(burst) == len(set(burst)) > 0
            assert all(message.startswith("burst ") for message in burst)

    async def test_close_with_messages_under_way_ends(self, tmp_path: Path) -> None:
        """An end that has just sent many messages can be closed at once."""
        async with self.ends(tmp_path, 1) as [(one, _)]:
            leaving = self.open(tmp_path, lambda _: None)
            for _ in range(500):
                leaving.send(one.address, "bye")
            await asyncio.wait_for(leaving.close(), LONG_SECONDS)

    async def test_messages_arrive_again_after_an_interruption(self, tmp_path: Path) -> None:
        """If what carries the messages was away, an open end hears again by itself, and sending never raised."""
        async with self.ends(tmp_path, 2) as [(one, _), (two, received)]:
            await self.interrupt()
            one.send(two.address, "lost, perhaps")
            await reached(one, two, received)


class WakeUpContract(ABC):
    """Inherit as ``class TestX(WakeUpContract)``."""

    pytestmark = pytest.mark.anyio

    @abstractmethod
    def subscribe(self, directory: Path, on_wake: Callable[[], None]) -> AbstractContextManager[None]: ...

    @abstractmethod
    def wake(self, directory: Path) -> None:
        """Wake every subscriber, as another process does. May be called in any thread."""

    async def test_every_subscriber_is_woken_on_its_event_loop(self, tmp_path: Path) -> None:
        """One wake-up reaches all of them, in the thread of the event loop."""
        woken: dict[str, int] = {}

        def on_wake(name: str) -> None:
            woken[name] = threading.get_ident()

        first = self.subscribe(tmp_path, lambda: on_wake("first"))
        with first, self.subscribe(tmp_path, lambda: on_wake("second")):
            await self.until_woken(tmp_path, lambda: len(woken) == 2)
            woken.clear()  # both hear by now
            await asyncio.to_thread(self.wake, tmp_path)
            await eventually(lambda: len(woken) == 2, "one wake-up wakes both", LONG_SECONDS)
        assert set(woken.values()) == {threading.get_ident()}

    async def test_no_subscriber_is_no_error(self, tmp_path: Path) -> None:
        """A wake-up that no process waits for has no effect, also on a later subscriber that was away."""
        self.wake(tmp_path)
        with self.subscribe(tmp_path, lambda: None):
            pass
        self.wake(tmp_path)

    async def test_subscriber_that_has_left_is_not_called(self, tmp_path: Path) -> None:
        """After the block the function is not called any more; another subscriber still is."""
        left: list[bool] = []
        stayed: list[bool] = []
        with self.subscribe(tmp_path, lambda: stayed.append(True)):
            with self.subscribe(tmp_path, lambda: left.append(True)):
                await self.until_woken(tmp_path, lambda: bool(left and stayed))
            count = len(left)
            stayed.clear()
            await self.until_woken(tmp_path, lambda: bool(stayed))
            assert len(left) == count

    async def test_burst_does_not_block(self, tmp_path: Path) -> None:
        """Hundreds of wake-ups of a subscriber that is busy return, and later ones still wake it."""
        woken: list[bool] = []
        with self.subscribe(tmp_path, lambda: woken.append(True)):
            await self.until_woken(tmp_path, lambda: bool(woken))
            for _ in range(300):
                self.wake(tmp_path)
            await eventually(lambda: len(woken) > 1, "the burst is heard", LONG_SECONDS)
            woken.clear()
            await self.until_woken(tmp_path, lambda: bool(woken))

    async def until_woken(self, directory: Path, condition: Callable[[], bool]) -> None:
        """Wake again and again: a subscriber may hear only soon after it has subscribed."""
        deadline = asyncio.get_running_loop().time() + LONG_SECONDS
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, "no subscriber is woken"
            await asyncio.to_thread(self.wake, directory)
            await asyncio.sleep(0.01)


def plain(received: list[str]) -> list[str]:
    """What was received, without the messages by which the tests find out that an end hears."""
    return [message for message in received if not message.startswith("ping ")]


async def until_sent(sender: End, receiver: End, has_arrived: Callable[[], bool]) -> None:
    """Send again and again until ``has_arrived``: an end may hear only soon after it was opened."""
    deadline = asyncio.get_running_loop().time() + LONG_SECONDS
    for number in count():
        if has_arrived():
            return
        assert asyncio.get_running_loop().time() < deadline, "no message arrives"
        sender.send(receiver.address, f"ping {number}")
        await asyncio.sleep(0.01)


async def reached(sender: End, receiver: End, received: list[str]) -> None:
    """Return when two more messages got through, one sent after the other has arrived."""
    for _ in range(2):
        before = len(received) - len(plain(received))
        await until_sent(sender, receiver, partial(has_more, before, received))


def has_more(before: int, received: list[str]) -> bool:
    """Whether more than ``before`` messages of ``until_sent`` have arrived."""
    return len(received) - len(plain(received)) > before
