"""No setting without effect: each is read by name in the code that builds or runs the server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

import tusd_py
from tusd_py.settings import Settings

_PACKAGE = Path(tusd_py.__file__).parent
_READERS = [
    *_PACKAGE.glob("*.py"),
    *_PACKAGE.glob("commands/*.py"),
    *_PACKAGE.glob("serving/**/*.py"),
    *_PACKAGE.glob("hooks/**/*.py"),
    *_PACKAGE.parent.glob("workers/*.py"),
]
# Handed over whole, field by field of the same name: a field that Cors does not have is an error there.
_WHOLE = {"cors"}


def _settings() -> list[tuple[str, str]]:
    sections = ((name, getattr(Settings(), name)) for name in Settings.model_fields)
    return [
        (name, key)
        for name, section in sections
        if isinstance(section, BaseModel)
        for key in type(section).model_fields
    ]


@pytest.mark.parametrize(("section", "key"), [pair for pair in _settings() if pair[0] not in _WHOLE])
def test_every_setting_is_read(section: str, key: str) -> None:
    """Some module that starts the server asks for it; ``records.url`` is read through ``database_url``."""
    name = "database_url" if (section, key) == ("records", "url") else key
    assert any(re.search(rf"\b\w+\.{name}\b", path.read_text()) for path in _READERS)
