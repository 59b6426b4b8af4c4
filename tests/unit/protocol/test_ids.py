"""The grammar of an id."""

from __future__ import annotations

import pytest

from tusd_py.protocol.ids import is_upload_id


@pytest.mark.parametrize("text", ["a", "0", "A-b_c", "0123456789abcdef0123456789abcdef", "a" * 128])
def test_ids(text: str) -> None:
    """Letters, digits, - and _, beginning with a letter or digit, at most 128."""
    assert is_upload_id(text)


@pytest.mark.parametrize("text", ["", "-a", "_a", ".", "..", "a/b", "a.b", "a b", "a\n", "é", "٣", "a\x00", "a" * 129])
def test_what_is_no_id(text: str) -> None:
    """Nothing that a path, a file name or a header would read otherwise."""
    assert not is_upload_id(text)
