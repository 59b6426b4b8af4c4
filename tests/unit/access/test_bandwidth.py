"""The arithmetic of paced bodies: what is paid when, equal turns, and what is remembered."""

from __future__ import annotations

import pytest

from tusd_py.access.bandwidth import Bandwidth

MIB = 1024 * 1024


def test_bytes_are_paid_with_time() -> None:
    """After n bytes at r bytes a second the next may be read n / r seconds later; idle time is not saved up."""
    pace = Bandwidth(per_upload=1000).pace("user:a", "u", now=5.0)
    assert pace.wait_seconds(5.0) == 0
    pace.charge(2000, now=5.0)
    assert [pace.wait_seconds(now) for now in (5.0, 6.5, 7.0, 9.0)] == [2.0, 0.5, 0.0, 0.0]
    pace.charge(1000, now=100.0)
    assert pace.wait_seconds(100.0) == 1.0


def test_slower_of_two_limits_counts() -> None:
    """One upload is held to its own rate, two of one owner to that of the owner; other owners are not affected."""
    bandwidth = Bandwidth(per_upload=1000, per_owner=1500)
    first, second = bandwidth.pace("user:a", "one", 0.0), bandwidth.pace("user:a", "two", 0.0)
    first.charge(3000, 0.0)
    assert first.wait_seconds(0.0) == 3.0
    second.charge(3000, 0.0)
    assert second.wait_seconds(0.0) == 4.0  # 6000 bytes of this owner
    other = bandwidth.pace("user:b", "three", 0.0)
    assert other.wait_seconds(0.0) == 0


@pytest.mark.parametrize("resumes", [True, False], ids=["resumed", "new"])
def test_resumed_upload_owes_what_it_has_taken(resumes: bool) -> None:
    """A client that breaks off and resumes gains nothing; a new upload owes nothing."""
    bandwidth = Bandwidth(per_upload=1000)
    pace = bandwidth.pace("user:a", "u", 0.0)
    pace.charge(5000, 0.0)
    pace.close()
    again = bandwidth.pace("user:a", "u" if resumes else "", 0.0)
    again.charge(1000, 0.0)
    assert again.wait_seconds(0.0) == (6.0 if resumes else 1.0)


def test_turns_shrink_with_the_number_of_uploads() -> None:
    """A quarter of a second of the rate, shared among the uploads of an owner, within bounds."""
    bandwidth = Bandwidth(per_owner=4 * MIB)
    paces = [bandwidth.pace("user:a", f"u{number}", 0.0) for number in range(4)]
    assert {pace.turn_bytes for pace in paces} == {MIB // 4}
    for pace in paces[1:]:
        pace.close()
    assert paces[0].turn_bytes == MIB
    assert Bandwidth(per_upload=10).pace("user:a", "u", 0.0).turn_bytes == 64 * 1024
    assert Bandwidth(per_upload=1000 * MIB).pace("user:a", "u", 0.0).turn_bytes == 4 * MIB


def test_idle_pacers_are_forgotten() -> None:
    """Memory is bounded by the uploads that run or still owe bytes."""
    bandwidth = Bandwidth(per_upload=1000)
    kept = bandwidth.pace("user:a", "kept", 0.0)
    kept.charge(10, 0.0)
    for number in range(5000):
        bandwidth.pace("user:a", f"u{number}", float(number)).close()
    assert len(bandwidth._pacers) <= 2001
    assert "upload:kept" in bandwidth._pacers
