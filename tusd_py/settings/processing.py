"""The settings of the worker's steps for complete uploads: validation and publishing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, TypeAdapter, ValidationError

from tusd_py.model.validation_rule import ValidationRule
from tusd_py.settings.values import DOCS, Bool, Expects, FileMode, Section, Size, Text

#: A field in a pattern.
FIELD = re.compile(r"\{([^{}]*)\}")
#: The fields that a pattern of published names can contain in braces.
PATTERN_FIELDS = ("id", "filename", "stem", "extension", "owner", "yyyy", "mm", "dd", "folders")
# It stands for any number of segments, so it is one of its own, and not the last one.
_FOLDERS = "{folders}"

Texts = Annotated[tuple[str, ...], Expects("a list of strings")]
Patterns = Annotated[tuple[str, ...], Expects("a list of patterns such as image/*")]


#: The keys of a rule and the type of their values; the defaults are those of ``ValidationRule``.
_RULE_KEYS: Mapping[str, Any] = {
    "name": Text,
    "types": Patterns,
    "files": Patterns,
    "owners": Patterns,
    "metadata": Annotated[Mapping[str, str], Expects("a table of patterns by the key of the metadata")],
    "size_min": Size,
    "size_max": Size,
    "extensions": Annotated[tuple[str, ...], Expects('a list of extensions such as ["png", "jpg"]')],
    "allowed_types": Patterns,
    "type_agrees": Bool,
    "csv": Bool,
}
_ADAPTERS: Mapping[str, TypeAdapter[Any]] = {key: TypeAdapter(kind) for key, kind in _RULE_KEYS.items()}


def parse_rules(value: object) -> tuple[ValidationRule, ...]:
    """Convert tables to rules. Raises ``ValueError`` that names the first bad rule and what is wrong with it."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"a list of rules ({DOCS}/validation.md)")
    rules = []
    for number, item in enumerate(value, 1):
        try:
            rules.append(item if isinstance(item, ValidationRule) else _rule(item))
        except ValueError as error:
            raise ValueError(f"a list of rules (docs/validation.md); in rule {number}, {error}") from None
    return tuple(rules)


def _rule(table: object) -> ValidationRule:
    if not isinstance(table, Mapping):
        raise ValueError("every rule must be a table")
    values = {}
    for key, value in table.items():
        if key not in _ADAPTERS:
            raise ValueError(f"{key} is not a key of a rule")
        try:
            values[key] = _ADAPTERS[key].validate_python(value)
        except ValidationError:
            allowed = [item for item in get_args(_RULE_KEYS[key]) if isinstance(item, Expects)]
            raise ValueError(f"{key} must be {allowed[-1].words}") from None
    rule = ValidationRule(**values)
    if rule.size_max and rule.size_max < rule.size_min:
        raise ValueError("size_max is less than size_min")
    return rule


def check_pattern(value: str) -> str:
    """A relative path with fields in braces."""
    segments = value.split("/")
    fields = set(FIELD.findall(value))
    is_plain = not set(FIELD.sub("", value)) & set('{}\\:*?"<>|\0') and value.isprintable()
    if not is_plain or not fields <= set(PATTERN_FIELDS) or any(part.strip() in ("", ".", "..") for part in segments):
        names = " ".join(f"{{{name}}}" for name in PATTERN_FIELDS)
        raise ValueError(f"a relative path such as {{owner}}/{{yyyy}}/{{mm}}/{{filename}}, of {names}")
    if any(_FOLDERS in part and part != _FOLDERS for part in segments) or segments[-1] == _FOLDERS:
        raise ValueError("a relative path such as {owner}/{folders}/{filename}, in which {folders} stands alone")
    return value


class ValidationSettings(Section):
    """Which uploads are accepted, and what happens to rejected ones."""

    enabled: Bool = False
    early: Bool = False
    rules: Annotated[tuple[ValidationRule, ...], BeforeValidator(parse_rules), Expects("a list of rules")] = ()
    unmatched: Annotated[Literal["allow", "reject"], Expects('"allow" or "reject"')] = "allow"
    rejected: Annotated[Literal["quarantine", "delete"], Expects('"quarantine" or "delete"')] = "quarantine"
    digest_keys: Texts = ("sha256", "checksum")

    def problems(self) -> Iterator[str]:
        """One sentence for each combination of values that cannot work."""
        if self.early and not any(rule.checks_type for rule in self.rules):
            yield (
                "validation.early is true, but no rule checks types: "
                "add allowed_types or type_agrees to a rule, or set validation.early to false"
            )


_BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([!-~]{0,200}))?")
_S3 = "s3://"


def check_target(value: str) -> str:
    """The path of a directory, or a bucket with or without a prefix of keys."""
    if value.startswith(_S3):
        match = _BUCKET.fullmatch(value)
        if match is None or {"", ".", ".."} & set((match[2] or "-").rstrip("/").split("/")):
            raise ValueError("the path of a directory, or a bucket such as s3://published/incoming")
    return value


class PublishingSettings(Section):
    """The directory, or the bucket, in which finished uploads appear under readable names."""

    directory: Annotated[str, AfterValidator(check_target), Expects("the path of a directory, or a bucket")] = ""
    pattern: Annotated[str, AfterValidator(check_pattern), Expects("a relative path with fields in braces")] = (
        "{yyyy}/{mm}/{filename}"
    )
    mode: Annotated[Literal["link", "copy"], Expects('"link" or "copy"')] = "link"
    file_mode: FileMode = "0640"

    @property
    def bucket(self) -> tuple[str, str] | None:
        """The bucket and the prefix of keys in it; ``None`` if uploads are published in a directory."""
        match = _BUCKET.fullmatch(self.directory)
        if match is None:
            return None
        prefix = (match[2] or "").rstrip("/")
        return match[1], f"{prefix}/" if prefix else ""
