"""Text that cannot be encoded in UTF-8."""

from __future__ import annotations

import os

import pytest

from tusd_py.model.text import valid_unicode


@pytest.mark.parametrize(
    ("text", "valid"),
    [("", ""), ("/srv/ä 😀", "/srv/ä 😀"), (os.fsdecode(b"/caf\xe9/x"), "/caf\ufffd/x"), ("\ud83d\ude00", "😀")],
)
def test_what_utf8_cannot_hold_is_replaced(text: str, valid: str) -> None:
    """Bytes that a path has and UTF-8 has not are replaced; two halves of a character become one."""
    assert valid == valid_unicode(text)
