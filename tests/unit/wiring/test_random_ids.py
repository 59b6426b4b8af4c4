"""The ids of new uploads are random, and none is given twice."""

from __future__ import annotations

from itertools import pairwise

from tusd_py.model.ids import is_generated_id
from tusd_py.wiring.random_ids import RandomIds


def test_ids_are_random_and_unique() -> None:
    """Of the form that the server gives, none twice, and two servers share none."""
    ids = [make.next() for make in (RandomIds(), RandomIds()) for _ in range(1000)]
    assert all(map(is_generated_id, ids))
    assert len(set(ids)) == len(ids)


def test_all_bits_vary() -> None:
    """None of the 32 digits is the same in all ids, and neighbours differ in most of them."""
    ids = RandomIds()
    made = [ids.next() for _ in range(200)]
    assert all(len(set(digits)) == 16 for digits in zip(*made, strict=True))
    assert all(sum(a == b for a, b in zip(one, other, strict=True)) < 16 for one, other in pairwise(made))
