"""The operator's rules about uploads: which rule an upload falls under, and what speaks against it. Nothing is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tusd_py.model.upload import Upload
from tusd_py.model.validation_rule import ValidationRule
from tusd_py.protocol.metadata import parse_metadata
from tusd_py.validation.media_types import more_specific, types_agree

_NAME_CHARACTERS_MAX = 80


@dataclass(frozen=True, slots=True)
class Declared:
    """What is said about an upload before anybody has looked: by its client, and by whose it is."""

    declared_type: str
    file_name: str
    owner: str
    metadata: Mapping[str, bytes]

    @property
    def extension(self) -> str:
        """What follows the last dot of the file's name, in lower case; empty where there is none."""
        stem, dot, extension = self.file_name.rpartition(".")
        return extension.lower() if dot and stem else ""


def declared(upload: Upload) -> Declared:
    """What is said about ``upload``. Never fails: a value that is no UTF-8 is replaced where it is not."""
    metadata = parse_metadata(upload.metadata_header)
    declared = next((metadata[key] for key in ("filetype", "type", "contentType") if metadata.get(key)), b"")
    name = metadata.get("filename") or metadata.get("name") or b""
    return Declared(
        declared_type=declared.decode("latin-1").partition(";")[0].strip().lower(),
        file_name=name.decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2].strip(),
        owner=upload.owner,
        metadata=metadata,
    )


def first_match(rules: Sequence[ValidationRule], said: Declared) -> ValidationRule | None:
    """The first rule that ``said`` falls under."""
    return next((rule for rule in rules if _falls_under(rule, said)), None)


def _falls_under(rule: ValidationRule, said: Declared) -> bool:
    conditions = ((rule.types, said.declared_type), (rule.files, said.file_name), (rule.owners, said.owner))
    if not all(matches(patterns, value) for patterns, value in conditions if patterns):
        return False
    return all(
        key in said.metadata and matches((pattern,), said.metadata[key].decode("utf-8", "replace"))
        for key, pattern in rule.metadata.items()
    )


def matches(patterns: Sequence[str], value: str) -> bool:
    """Whether one of ``patterns`` fits ``value``, in whatever case."""
    return any(fnmatchcase(value.lower(), pattern.lower()) for pattern in patterns)


def declared_violations(rule: ValidationRule, said: Declared, length: int) -> Iterator[str]:
    """What speaks against an upload of ``length`` bytes by what is said about it alone."""
    if length < rule.size_min:
        yield f"it has {length} bytes, fewer than {rule.size_min}"
    if rule.size_max and length > rule.size_max:
        yield f"it has {length} bytes, more than {rule.size_max}"
    if rule.extensions and said.extension not in rule.extensions:
        yield f"the extension of its name, {shown(said.extension)}, is not one of {', '.join(rule.extensions)}"


def type_violations(rule: ValidationRule, said: Declared, real: str) -> Iterator[str]:
    """What speaks against an upload whose bytes are of the type ``real``."""
    if rule.type_agrees and said.declared_type and not types_agree(said.declared_type, real):
        yield f"its type is {real}, but {shown(said.declared_type)} was declared"
    if rule.type_agrees and not said.declared_type:
        yield "no type was declared (metadata filetype)"
    if rule.allowed_types and not _is_allowed(rule.allowed_types, said.declared_type, real):
        yield f"its type is {real}, which is not one of {', '.join(rule.allowed_types)}"


def _is_allowed(allowed: Sequence[str], declared: str, real: str) -> bool:
    return matches(allowed, real) or matches(allowed, more_specific(declared, real))


def shown(text: str) -> str:
    """What a client has said, made fit for a sentence: short, and visible throughout."""
    visible = "".join(character if character.isprintable() else "?" for character in text)
    short = visible if len(visible) <= _NAME_CHARACTERS_MAX else f"{visible[:_NAME_CHARACTERS_MAX]}..."
    return f'"{short}"'
