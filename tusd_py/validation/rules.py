"""Which rule applies to an upload, and which of its requirements the upload violates. Reads no bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tusd_py.model.upload import Upload
from tusd_py.model.validation_rule import ValidationRule
from tusd_py.protocol.file_names import declared_name
from tusd_py.protocol.metadata import declared_type, parse_metadata
from tusd_py.validation.media_types import is_allowed, types_agree

_QUOTE_CHARACTERS_MAX = 80


@dataclass(frozen=True, slots=True)
class Declaration:
    """The declared properties of an upload: the metadata of its client, and its owner."""

    declared_type: str
    file_name: str
    owner: str
    metadata: Mapping[str, bytes]

    @property
    def extension(self) -> str:
        """The part of the file name after its last dot, in lower case; empty if there is none."""
        stem, dot, extension = self.file_name.rpartition(".")
        return extension.lower() if dot and stem else ""


def declared(upload: Upload) -> Declaration:
    """The declaration of ``upload``. Invalid UTF-8 is replaced."""
    metadata = parse_metadata(upload.metadata_header)
    return Declaration(
        declared_type=declared_type(metadata),
        file_name=declared_name(metadata).strip(),
        owner=upload.owner,
        metadata=metadata,
    )


def first_match(rules: Sequence[ValidationRule], declaration: Declaration) -> ValidationRule | None:
    """The first rule whose conditions are met."""
    return next((rule for rule in rules if _meets_conditions(rule, declaration)), None)


def _meets_conditions(rule: ValidationRule, declaration: Declaration) -> bool:
    conditions = (
        (rule.types, declaration.declared_type),
        (rule.files, declaration.file_name),
        (rule.owners, declaration.owner),
    )
    if not all(matches(patterns, value) for patterns, value in conditions if patterns):
        return False
    return all(
        key in declaration.metadata and matches((pattern,), declaration.metadata[key].decode("utf-8", "replace"))
        for key, pattern in rule.metadata.items()
    )


def matches(patterns: Sequence[str], value: str) -> bool:
    """Whether one of ``patterns`` matches ``value``, ignoring case."""
    return any(fnmatchcase(value.lower(), pattern.lower()) for pattern in patterns)


def declared_violations(rule: ValidationRule, declaration: Declaration, length: int) -> Iterator[str]:
    """A sentence for each requirement on length and name that an upload of ``length`` bytes violates."""
    if length < rule.size_min:
        yield f"it has {length} bytes, fewer than {rule.size_min}"
    if rule.size_max and length > rule.size_max:
        yield f"it has {length} bytes, more than {rule.size_max}"
    if rule.extensions and declaration.extension not in rule.extensions:
        yield f"the extension of its name, {quote(declaration.extension)}, is not one of {', '.join(rule.extensions)}"


def type_violations(rule: ValidationRule, declaration: Declaration, detected: str) -> Iterator[str]:
    """A sentence for each requirement on the type that content of the ``detected`` type violates."""
    if rule.type_agrees and declaration.declared_type and not types_agree(declaration.declared_type, detected):
        yield f"its type is {detected}, but {quote(declaration.declared_type)} was declared"
    if rule.type_agrees and not declaration.declared_type:
        yield "no type was declared (metadata filetype)"
    if rule.allowed_types:
        yield from not_allowed(rule.allowed_types, declaration, detected)


def not_allowed(allowed: Sequence[str], declaration: Declaration, detected: str) -> Iterator[str]:
    """A sentence if content of the ``detected`` type matches none of the patterns ``allowed``."""
    if not is_allowed(allowed, declaration.declared_type, detected):
        yield f"its type is {detected}, which is not one of {', '.join(allowed) or 'none'}"


def quote(text: str) -> str:
    """Quote ``text`` of a client for a sentence: shortened, with invisible characters replaced."""
    visible = "".join(character if character.isprintable() else "?" for character in text)
    short = visible if len(visible) <= _QUOTE_CHARACTERS_MAX else f"{visible[:_QUOTE_CHARACTERS_MAX]}..."
    return f'"{short}"'
