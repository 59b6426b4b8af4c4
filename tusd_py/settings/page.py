"""The settings of the upload page."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Annotated

from pydantic import AfterValidator

from tusd_py.settings.values import Expects, Section

_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_LOGO_EXTENSIONS = (".svg", ".png", ".jpg", ".jpeg", ".webp")
_TITLE_CHARACTERS_MAX = 80
_LOGO = "the path of a picture that ends in .svg, .png, .jpg or .webp, or empty"
_TITLE = f"text of at most {_TITLE_CHARACTERS_MAX} characters in one line, or empty"


def check_colour(value: str) -> str:
    if value and not _COLOUR.fullmatch(value):
        raise ValueError("a colour such as #0a7cff, or empty")
    return value.lower()


def check_logo(value: str) -> str:
    """The path of a picture. A URL would reveal visitors to another server and weaken the page's policy."""
    if value and ("://" in value or PurePath(value).suffix.lower() not in _LOGO_EXTENSIONS):
        raise ValueError(_LOGO)
    return value


def check_title(value: str) -> str:
    if len(value) > _TITLE_CHARACTERS_MAX or not value.isprintable():
        raise ValueError(_TITLE)
    return value.strip()


class PageSettings(Section):
    """How the upload page looks."""

    title: Annotated[str, AfterValidator(check_title), Expects(_TITLE)] = ""
    logo: Annotated[str, AfterValidator(check_logo), Expects(_LOGO)] = ""
    colour: Annotated[str, AfterValidator(check_colour), Expects("a colour such as #0a7cff, or empty")] = ""
