"""The description of the API (OpenAPI 3.1), written by hand: one file for each kind of resource, merged into one."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

#: The files, beside this module in the package. ``base.json`` has what all of them share.
DIRECTORY = Path(__file__).with_suffix("")


def load_document() -> dict[str, Any]:
    """The whole description. Reads files: call it in a thread, or at the start."""
    document: dict[str, Any] = json.loads((DIRECTORY / "base.json").read_bytes())
    document["info"]["version"] = version("tusd-py")
    for path in sorted(DIRECTORY.glob("*.json")):
        if path.name != "base.json":
            _merge(document, json.loads(path.read_bytes()), path.name)
    document["paths"] = dict(sorted(document["paths"].items()))
    return document


def _merge(document: dict[str, Any], more: dict[str, Any], file: str) -> None:
    sections = {"paths": more.get("paths", {}), **more.get("components", {})}
    for section, entries in sections.items():
        into = document["paths"] if section == "paths" else document["components"].setdefault(section, {})
        for name, entry in entries.items():
            if name in into:
                raise ValueError(f"{file} describes {name} in {section}, as another file does")
            into[name] = entry
