"""Derives the colours of the page from the operator's own colour, with the contrasts of WCAG 2.2, level AA.

The operator's colour is darkened for light pages, and lightened for dark ones, until text in it is legible. Buttons
keep it, with white text or black, so any colour can be chosen. ``static/page.css`` has the other colours, and these for
pages without a colour of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_Rgb = tuple[float, float, float]

#: WCAG 2.2, 1.4.3: text that is not large.
CONTRAST_MIN = 4.5
# A little more, because the colours are rounded to whole numbers.
_CONTRAST_WANTED = 4.6
_BLACK: _Rgb = (0, 0, 0)
_WHITE: _Rgb = (255, 255, 255)
# --ground, --surface and --text of static/page.css; a test compares them.
LIGHT = {"ground": "#f5f6fa", "surface": "#fff", "text": "#1b1e2b"}
DARK = {"ground": "#11131a", "surface": "#1a1d27", "text": "#eceef6"}


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (``#rgb`` or ``#rrggbb``), from 1 to 21."""
    return _contrast(_parse(one), _parse(other))


def style_sheet(colour: str) -> str:
    """CSS that sets the page's accents to shades of ``colour``."""
    light, dark = palette(colour)
    return (
        f":root {{{_declarations(light)}}}\n@media (prefers-color-scheme: dark) {{ :root {{{_declarations(dark)}}} }}\n"
    )


def icon(svg: str, colour: str) -> str:
    """The page's icon with its gradient in shades of ``colour``."""
    light, _ = palette(colour)
    shades = {"#5b6cf9": light["button"], "#3b3fd1": light["button-strong"], "#fff": light["on-button"]}
    return re.sub("#5b6cf9|#3b3fd1|#fff", lambda match: shades[match[0]], svg)


def palette(colour: str) -> tuple[dict[str, str], dict[str, str]]:
    """The custom properties of a light and a dark page, by name."""
    chosen = _parse(colour)
    tint = _mix(chosen, _WHITE, 0.92)
    grounds = [_parse(LIGHT["ground"]), _parse(LIGHT["surface"]), tint]
    accent = _legible(chosen, grounds, _BLACK)
    light = {"accent": accent, "accent-strong": _mix(accent, _BLACK, 0.22), "accent-ground": tint}
    # One of the two is legible on every colour; a button that is pointed at moves away from it.
    on_button, other = (_WHITE, _BLACK) if _contrast(_WHITE, chosen) >= CONTRAST_MIN else (_BLACK, _WHITE)
    light |= {"button": chosen, "button-strong": _mix(chosen, other, 0.22), "on-button": on_button}
    # A tint that is too light for the text of a dark page, as of yellow, is mixed with less of the colour.
    surface = _parse(DARK["surface"])
    tint = _legible(_mix(chosen, surface, 0.78), [_parse(DARK["text"])], surface, 7)
    grounds = [_parse(DARK["ground"]), surface, tint]
    accent = _legible(chosen, grounds, _WHITE)
    dark = {"accent": accent, "accent-strong": _mix(accent, _WHITE, 0.35), "accent-ground": tint}
    return _formatted(light), _formatted(dark)


def _legible(colour: _Rgb, others: list[_Rgb], towards: _Rgb, wanted: float = _CONTRAST_WANTED) -> _Rgb:
    """``colour``, mixed with ``towards`` as little as gives it enough contrast with each of ``others``."""
    for percent in range(101):
        mixed = _mix(colour, towards, percent / 100)
        if all(_contrast(mixed, other) >= wanted for other in others):
            return mixed
    return towards


def _contrast(one: _Rgb, other: _Rgb) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: _Rgb) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    channels = [channel / 255 for channel in colour]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _mix(colour: _Rgb, other: _Rgb, share: float) -> _Rgb:
    red, green, blue = (a + (b - a) * share for a, b in zip(colour, other, strict=True))
    return (red, green, blue)


def _parse(colour: str) -> _Rgb:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    red, green, blue = (int(digits[at : at + 2], 16) for at in (0, 2, 4))
    return (red, green, blue)


def _formatted(colours: Mapping[str, _Rgb]) -> dict[str, str]:
    return {name: "#" + "".join(f"{round(channel):02x}" for channel in rgb) for name, rgb in colours.items()}


def _declarations(colours: Mapping[str, str]) -> str:
    return "".join(f" --{name}: {colour};" for name, colour in colours.items()) + " "
