"""Addresses that were told to wait are refused from memory, for a moment."""

from __future__ import annotations

from datetime import timedelta

from tests.support.harness import EPOCH
from tusd_py.access.guess_waits import ADDRESSES_MAX, GuessWaits


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def test_waits_are_remembered_for_a_moment() -> None:
    """The wait is told as it goes by; after ten seconds, or at its end, the database is asked again."""
    waits = GuessWaits()
    assert waits.remaining("a", EPOCH) is None
    waits.note("a", seconds(300), EPOCH)
    waits.note("b", seconds(4), EPOCH)
    assert waits.remaining("a", EPOCH + seconds(9)) == seconds(291)
    assert waits.remaining("a", EPOCH + seconds(10)) is None
    assert waits.remaining("b", EPOCH + seconds(3)) == seconds(1)
    assert waits.remaining("b", EPOCH + seconds(4)) is None
    assert waits.remaining("c", EPOCH) is None


def test_memory_is_bounded() -> None:
    """The addresses that were told to wait longest ago are forgotten first."""
    waits = GuessWaits()
    for number in range(ADDRESSES_MAX + 1):
        waits.note(str(number), seconds(300), EPOCH)
    assert (waits.remaining("0", EPOCH), waits.remaining("1", EPOCH)) == (None, seconds(300))
