"""``PartLayout`` and ``Keys``: the boundaries of parts, and what belongs to which upload."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.storage.s3.layout import PARTS_MAX, Keys, PartLayout

MIB = 1024**2
LAYOUT = PartLayout(8 * MIB, 64 * MIB)


def test_parts_grow_to_the_largest() -> None:
    """A thousand of 8 MiB, then twice as large each thousand, but not above the setting."""
    sizes = [LAYOUT.size(index) // MIB for index in (0, 999, 1000, 1999, 2000, 3000, 9999)]
    assert sizes == [8, 8, 16, 16, 32, 64, 64]
    assert LAYOUT.bytes_max == 504_000 * MIB
    assert PartLayout(8 * MIB, 5 * MIB).size(PARTS_MAX - 1) == 8 * MIB


@given(st.integers(0, 12_000))
def test_boundaries_agree_with_sizes(index: int) -> None:
    """Each part begins where the one before ends, and contains its first and its last byte."""
    start, size = LAYOUT.start(index), LAYOUT.size(index)
    assert LAYOUT.start(index + 1) == start + size
    assert LAYOUT.index_at(start) == index == LAYOUT.index_at(start + size - 1)


def test_keys_name_their_upload() -> None:
    """Objects and tails are found again by their keys, and other objects are not taken for one."""
    keys = Keys("tus/")
    assert keys.upload_of(keys.object("an-id")) == "an-id"
    assert keys.upload_of(keys.attempt("an-id", "0f")) == "an-id"
    assert keys.upload_of(keys.tails("an-id") + "0-abc") == "an-id"
    assert [keys.upload_of(key) for key in ("other", "tus/", "tus/uploads/", "tus/tails/x", keys.probe)] == [None] * 5


@pytest.mark.parametrize("upload_id", ["", "..", "a/b", "a%2fb", "/"])
def test_key_of_what_is_no_id(upload_id: str) -> None:
    """Such a key could be that of another upload."""
    with pytest.raises(ValueError, match="not the id"):
        Keys("").object(upload_id)
    with pytest.raises(ValueError, match="not the id"):
        Keys("").tails(upload_id)
