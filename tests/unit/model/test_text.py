"""Text that cannot be encoded in UTF-8."""

from __future__ import annotations

import os

import pytest

from tusd_py.model.text import valid_unicode, visible


@pytest.mark.parametrize(
    ("text", "valid"),
    [("", ""), ("/srv/ä 😀", "/srv/ä 😀"), (os.fsdecode(b"/caf\xe9/x"), "/caf\ufffd/x"), ("\ud83d\ude00", "😀")],
)
def test_what_utf8_cannot_hold_is_replaced(text: str, valid: str) -> None:
    """Bytes that a path has and UTF-8 has not are replaced; two halves of a character become one."""
    assert valid == valid_unicode(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ä", "plain ä"),
        ("a\u202eb\u2066c\u200fd\x00e\nf\ufefff", "a_b_c_d_e_f_f"),
        ("a\u202fb\u00a0c\u3000d\u2009e", "a b c d e"),
        ("a\u200cb\u200dc", "a\u200cb\u200dc"),
        ("👍🏽\ufe0f", "👍🏽\ufe0f"),
    ],
)
def test_invisible_characters_are_replaced(text: str, expected: str) -> None:
    """Those that reverse the reading direction too; spaces become plain ones, and joiners stay."""
    assert expected == visible(text, "_")
