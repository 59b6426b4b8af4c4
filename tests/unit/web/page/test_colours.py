"""Contrasts of the page: of its own colours, and of those that it makes of an operator's colour."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.web.page.colours import CONTRAST_MIN, DARK, LIGHT, contrast, icon, palette, style_sheet
from tusd_py.web.page.routes import DIRECTORY

TEXTS = ("text", "soft", "accent", "accent-strong")
PAIRS = [(text, ground) for text in TEXTS for ground in ("ground", "surface")] + [
    ("text", "accent-ground"),
    ("accent", "accent-ground"),
    ("warn", "warn-ground"),
]


def palettes() -> dict[str, dict[str, str]]:
    """The colours of the style sheet by name, light and dark."""
    sheet = (DIRECTORY / "page.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)
    colours = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+);", block)) for block in (light, dark)]
    return {"light": colours[0], "dark": colours[0] | colours[1]}


@pytest.mark.parametrize(
    ("one", "other", "expected"), [("#000", "#ffffff", 21), ("#777", "#fff", 4.48), ("#abc", "#abc", 1)]
)
def test_contrast_is_the_ratio_of_wcag(one: str, other: str, expected: float) -> None:
    """The ratio of WCAG 2.2, in either order and notation."""
    assert pytest.approx(expected, abs=0.01) == contrast(one, other) == contrast(other, one)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_is_legible(scheme: str, text: str, ground: str) -> None:
    """Text has a contrast of 4.5 or more with its background (WCAG 2.2, 1.4.3), in both schemes."""
    colours = palettes()[scheme]
    assert contrast(colours[text], colours[ground]) >= CONTRAST_MIN


@pytest.mark.parametrize("button", ["button", "button-strong"])
def test_buttons_are_legible(button: str) -> None:
    """The text on a filled button has a contrast of 4.5 or more."""
    colours = palettes()["light"]
    assert contrast(colours["on-button"], colours[button]) >= CONTRAST_MIN


@given(st.from_regex(r"#([0-9a-f]{6}|[0-9a-f]{3})", fullmatch=True))
def test_every_colour_of_an_operator_becomes_legible(colour: str) -> None:
    """Whatever colour is chosen, the page's text in it and on it keeps the contrast of its own colours."""
    own = palettes()
    for scheme, made in zip(("light", "dark"), palette(colour), strict=True):
        colours = own[scheme] | palette(colour)[0] | made
        for text, ground in PAIRS:
            assert contrast(colours[text], colours[ground]) >= CONTRAST_MIN, (scheme, text, ground)
        for button in ("button", "button-strong"):
            assert contrast(colours["on-button"], colours[button]) >= CONTRAST_MIN, (scheme, button)


@pytest.mark.parametrize(("colour", "text"), [("#4549d8", "#ffffff"), ("#ffd400", "#000000")])
def test_buttons_have_the_colour_itself(colour: str, text: str) -> None:
    """The text on them is white or black, whichever is legible."""
    light, _ = palette(colour)
    assert (colour, text) == (light["button"], light["on-button"])


@pytest.mark.parametrize("colour", ["#4549d8", "#00695c"])
def test_legible_colour_stays_as_it_is(colour: str) -> None:
    """A colour with enough contrast is used unchanged for text on light pages."""
    assert colour == palette(colour)[0]["accent"]


def test_colours_of_the_style_sheet_are_those_that_are_compared() -> None:
    """The grounds and the text that an operator's colour is compared with are those of the page."""
    for scheme, expected in (("light", LIGHT), ("dark", DARK)):
        assert expected == {name: palettes()[scheme][name] for name in expected}


def test_style_sheet_and_icon_have_the_colour() -> None:
    """The style sheet sets both schemes; the icon has none of its own colours left."""
    sheet = style_sheet("#00695c")
    assert "--button: #00695c;" in sheet
    assert "prefers-color-scheme: dark" in sheet
    changed = icon((DIRECTORY / "icon.svg").read_text(), "#00695c")
    assert "#00695c" in changed
    assert "#5b6cf9" not in changed
    assert "#3b3fd1" not in changed
