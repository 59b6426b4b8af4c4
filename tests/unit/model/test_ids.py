"""The grammar of an id."""

from __future__ import annotations

import pytest

from tusd_py.model.ids import is_upload_id


@pytest.mark.parametrize("text", ["a", "0", "A-b_c", "0123456789abcdef0123456789abcdef", "a" * 128, "0~!$'()*+,=@_-"])
def test_ids(text: str) -> None:
    """Letters, digits and what a URL may hold beside them, beginning with a letter or digit, at most 128."""
    assert is_upload_id(text)


WRONG = ["", "-a", "_a", ".", "..", "a/b", "a.b", "a b", "a\n", "é", "٣", "a\x00", "a" * 129]
WRONG += ["~a", "@", "a%41", "a&b", "a#b", "a?b", "a\\b", 'a"b', "a<b", "a;b", "a:b"]


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_id(text: str) -> None:
    """Nothing that a path, a file name or a header would read otherwise."""
    assert not is_upload_id(text)
