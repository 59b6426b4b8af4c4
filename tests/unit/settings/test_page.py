"""The settings of the upload page: what is accepted, and the sentences for what is not."""

from __future__ import annotations

import pytest

from tusd_py.settings import SettingsError, from_mapping


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("title", " Müller & Co ", "Müller & Co"),
        ("logo", "/etc/tusd-py/Logo.SVG", "/etc/tusd-py/Logo.SVG"),
        ("logo", "logo.jpeg", "logo.jpeg"),
        ("colour", "#0A7cff", "#0a7cff"),
        ("colour", "#abc", "#abc"),
        ("colour", "", ""),
    ],
)
def test_titles_paths_and_css_colours_are_accepted(name: str, value: str, expected: str) -> None:
    """Titles, paths of pictures, and colours in the two notations of CSS."""
    assert expected == getattr(from_mapping({"page": {name: value}}, "the test").page, name)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("title", "x" * 81, "text of at most 80 characters"),
        ("title", "two\nlines", "text of at most 80 characters in one line"),
        ("logo", "https://example.com/logo.svg", "the path of a picture"),
        ("logo", "logo.gif", "ends in .svg, .png, .jpg or .webp"),
        ("logo", "logo", "the path of a picture"),
        ("colour", "blue", "a colour such as #0a7cff"),
        ("colour", "#12345", "a colour such as #0a7cff"),
        ("colour", "#123; } body { display: none", "a colour such as #0a7cff"),
    ],
)
def test_other_values_are_refused_with_what_is_expected(name: str, value: str, sentence: str) -> None:
    """Everything else is refused at the start, with what is expected."""
    with pytest.raises(SettingsError, match=r"page\.") as refused:
        from_mapping({"page": {name: value}}, "the test")
    assert sentence in str(refused.value)
