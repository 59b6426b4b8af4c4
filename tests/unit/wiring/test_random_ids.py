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


def test_each_id_has_112_random_bits_of_its_own() -> None:
    """28 of the 32 digits differ among neighbours; the other four are the same for 64 ids, and then others."""
    ids = RandomIds()
    made = [ids.next() for _ in range(64 * 40)]
    assert all(len(set(digits)) == 16 for digits in [*zip(*made, strict=True)][4:])
    assert all(sum(a == b for a, b in zip(one[4:], other[4:], strict=True)) < 16 for one, other in pairwise(made))
    shared = [{each[:4] for each in made[at : at + 64]} for at in range(0, len(made), 64)]
    assert all(len(each) == 1 for each in shared)
    assert len(set.union(*shared)) > 35
