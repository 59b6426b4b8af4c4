"""The name that a client gave the file of an upload. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tusd_py.model.text import JOINERS, visible

#: File systems allow no more.
CHARACTERS_MAX = 255
_EXTENSION_BYTES_MAX = 20
_SEPARATORS = re.compile(r"[/\\]")


def declared_name(metadata: Mapping[str, bytes]) -> str:
    """The metadata ``filename``, else ``name``: its last segment, because some clients send whole paths."""
    value = metadata.get("filename") or metadata.get("name") or b""
    return _SEPARATORS.split(value.decode("utf-8", "replace"))[-1]


def declared_folders(metadata: Mapping[str, bytes]) -> list[str]:
    """The folders of the metadata ``relativePath``, which clients send for the files of a dropped folder."""
    value = metadata.get("relativePath") or b""
    return [part for part in _SEPARATORS.split(value.decode("utf-8", "replace"))[:-1] if part.strip(" .")]


def shown_name(metadata: Mapping[str, bytes]) -> str:
    """The name for people: without path and invisible characters, and not too long; possibly empty."""
    name = visible(declared_name(metadata)).strip(f" .{JOINERS}")
    if len(name) <= CHARACTERS_MAX:
        return name
    stem, extension = split_extension(name)
    return stem[: CHARACTERS_MAX - len(extension)] + extension


def split_extension(name: str) -> tuple[str, str]:
    """``name`` before its last dot, and the rest; nothing is split off that is too long for an extension."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > _EXTENSION_BYTES_MAX:
        return name, ""
    return stem, f"{dot}{extension}"
