"""``RequestIds``: unique ids, and the client's own where they are valid. ``test_exchange`` sends them over ASGI."""

from __future__ import annotations

import re

from tusd_py.web.request_id import RequestIds


def test_new_ids_are_unique_and_valid() -> None:
    """Two processes have different prefixes; within a process the ids differ, and each would be accepted if sent."""
    ours, other = RequestIds(), RequestIds()
    made = [ids.of(None) for ids in (ours, ours, other, other)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(rb"[0-9a-f]{16}", each) for each in made)
    assert other.of(made[0]) == made[0]


def test_invalid_id_of_a_client_is_replaced() -> None:
    """A line end or a long value never reaches a log or a response."""
    ids = RequestIds()
    assert ids.of(b"a\n") != b"a\n"
    assert ids.of(b"a" * 37) != b"a" * 37
    assert ids.of(b"a" * 36) == b"a" * 36
