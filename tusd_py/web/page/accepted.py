"""Derives from the validation rules the file types and sizes that the page shows before a file is chosen.

It is never stricter than the rules: a file that some rule accepts is accepted here. A limit that does not hold for all
files is not shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from mimetypes import MimeTypes

from tusd_py.model.validation_rule import ValidationRule

# A media type, or all of a kind: the patterns that a browser's file chooser knows.
_MEDIA_TYPE = re.compile(r"[a-z]+/(?:\*|[a-z0-9][a-z0-9!#$&^_.+-]*)", re.ASCII)
_EXTENSION = re.compile(r"\.[^\s.,*?\[\]/]+")
# The type of bytes without a known type: they have any extension.
_UNKNOWN = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedFiles:
    """The types and sizes that every accepted file has.

    ``types`` are extensions with a dot and media types, as in the attribute ``accept``; empty is any file. With
    ``by_name`` they are extensions alone, and a file without one of them is refused for certain. Sizes are in bytes;
    0 is no limit.
    """

    types: tuple[str, ...] = ()
    by_name: bool = False
    size_min: int = 0
    size_max: int = 0


ANY_FILE = AcceptedFiles()


@cache
def _table() -> MimeTypes:
    """Python's own table alone: that of the system differs between machines. Made when it is needed: it is large."""
    return MimeTypes(filenames=())


def accepted_files(rules: Sequence[ValidationRule], unmatched: str) -> AcceptedFiles:
    """What all files have in common that ``rules`` accept; ``unmatched`` is "allow" or "reject"."""
    reachable = list(_reachable(rules))
    if not reachable or (unmatched == "allow" and not _is_unconditional(reachable[-1])):
        return ANY_FILE
    kinds = [_types(rule) for rule in reachable]
    return AcceptedFiles(
        types=tuple(dict.fromkeys(kind for each in kinds for kind in each)) if all(kinds) else (),
        by_name=all(rule.extensions for rule in reachable) and all(kinds),
        size_min=min(rule.size_min for rule in reachable),
        size_max=max(rule.size_max for rule in reachable) if all(rule.size_max for rule in reachable) else 0,
    )


def _reachable(rules: Sequence[ValidationRule]) -> Iterator[ValidationRule]:
    """The rules up to the first one that every upload meets: the first rule that an upload meets decides."""
    for rule in rules:
        yield rule
        if _is_unconditional(rule):
            return


def _is_unconditional(rule: ValidationRule) -> bool:
    return not (rule.types or rule.files or rule.owners or rule.metadata)


def _types(rule: ValidationRule) -> tuple[str, ...]:
    """The types of the files that ``rule`` accepts; empty if it accepts others, or if they have no names."""
    if rule.extensions:
        names = [f".{extension}" for extension in rule.extensions]
        return tuple(names) if all(map(_EXTENSION.fullmatch, names)) else ()
    if not rule.allowed_types and rule.files:
        names = [pattern.removeprefix("*").lower() for pattern in rule.files]
        return tuple(names) if all(map(_EXTENSION.fullmatch, names)) else ()
    types: list[str] = []
    for pattern in map(str.lower, rule.allowed_types or rule.types):
        if pattern == _UNKNOWN or not _MEDIA_TYPE.fullmatch(pattern):
            return ()
        types.append(pattern)
        # Systems that do not know a media type know its extension.
        types += [extension] if (extension := _table().guess_extension(pattern)) else []
    return tuple(types)
