"""The choice of a language by ``Accept-Language``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.web.page.languages import choose_language

AVAILABLE = ("en", "de", "fr")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("DE-at", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("en;q=0.5, fr;q=0.8, de;q=0.7", "fr"),
        ("fr, de", "fr"),
        ("de, fr", "de"),
        ("zh-CN,zh;q=0.9,fr;q=0.1", "fr"),
        ("zh, ja", "en"),
        ("*", "en"),
        ("fr;q=0.4, *;q=0.5", "en"),
        ("en;q=0, *;q=0.5", "de"),
        ("en;q=0, de;q=0, fr;q=0", "en"),
        ("de ; q=0.2 , fr ; Q=0.3", "fr"),
        ("de;q=2, fr;q=0.1", "fr"),
        ("de;q=0.1234, fr;q=0.1", "fr"),
        ("de_DE, fr;q=0.1", "fr"),
        (",,;q=1, de", "de"),
        ("den, fra", "en"),
    ],
)
def test_highest_weight_wins(header: str, language: str) -> None:
    """The highest weight wins, then the order of the client; invalid items do not count."""
    assert language == choose_language(header, AVAILABLE)


def test_long_list_is_read_to_its_bound() -> None:
    """Of a list without end only the beginning is read."""
    assert "en" == choose_language("zh," * 10_000 + "de", AVAILABLE)


@given(st.text(max_size=200))
def test_any_header_has_a_language(header: str) -> None:
    """No value raises an exception."""
    assert choose_language(header, AVAILABLE) in AVAILABLE
