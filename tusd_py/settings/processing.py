"""The settings of what workers do with complete uploads: examining them by rules, and publishing them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, ValidationError, model_validator

from tusd_py.settings.values import Bool, Expects, Section, Size, Text

_FIELD = re.compile(r"\{([^{}]*)\}")
#: What a pattern of published names may hold in braces.
PATTERN_FIELDS = ("id", "filename", "stem", "extension", "owner", "yyyy", "mm", "dd")

Texts = Annotated[tuple[str, ...], Expects("a list of text")]
Patterns = Annotated[tuple[str, ...], Expects("a list of patterns such as image/*")]


class ValidationRule(Section):
    """One rule; what each key means is told in docs/validation.md."""

    name: Text = ""
    types: Patterns = ()
    files: Patterns = ()
    owners: Patterns = ()
    metadata: Annotated[Mapping[str, str], Expects("a table of patterns by the key of the metadata")] = {}
    size_min: Size = 0
    size_max: Size = 0
    extensions: Annotated[tuple[str, ...], Expects('a list of extensions such as ["png", "jpg"]')] = ()
    allowed_types: Patterns = ()
    type_agrees: Bool = False
    csv: Bool = False

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.size_max and self.size_max < self.size_min:
            raise ValueError("size_max is less than size_min")
        return self


def parse_rules(value: object) -> object:
    """Tables as rules. Raises ``ValueError`` with what is wrong with the first bad one."""
    if not isinstance(value, list | tuple):
        raise ValueError("a list of rules (docs/validation.md)")
    rules = []
    for number, item in enumerate(value, 1):
        if isinstance(item, ValidationRule):
            rules.append(item)
            continue
        try:
            rules.append(ValidationRule.model_validate(item))
        except ValidationError as error:
            raise ValueError(f"a list of rules (docs/validation.md); in rule {number}, {_what(error)}") from None
    return tuple(rules)


def _what(error: ValidationError) -> str:
    details = error.errors()[0]
    if not details["loc"]:
        cause = details.get("ctx", {}).get("error")
        return str(cause or "every rule must be a table")
    key = str(details["loc"][0])
    field = ValidationRule.model_fields.get(key)
    if field is None:
        return f"{key} is no key of a rule"
    words = [item.words for item in field.metadata if isinstance(item, Expects)]
    return f"{key} must be {words[-1]}"


def check_pattern(value: str) -> str:
    """A relative path with fields in braces, in which no two uploads of different names need share one."""
    segments = value.split("/")
    fields = set(_FIELD.findall(value))
    is_plain = not set(_FIELD.sub("", value)) & set('{}\\:*?"<>|\0') and value.isprintable()
    if not is_plain or not fields <= set(PATTERN_FIELDS) or any(part.strip() in ("", ".", "..") for part in segments):
        names = " ".join(f"{{{name}}}" for name in PATTERN_FIELDS)
        raise ValueError(f"a relative path such as {{owner}}/{{yyyy}}/{{mm}}/{{filename}}, of {names}")
    return value


class ValidationSettings(Section):
    """What uploads this server wants, and what becomes of the others."""

    enabled: Bool = False
    early: Bool = False
    rules: Annotated[tuple[ValidationRule, ...], BeforeValidator(parse_rules), Expects("a list of rules")] = ()
    unmatched: Annotated[Literal["allow", "reject"], Expects('"allow" or "reject"')] = "allow"
    rejected: Annotated[Literal["quarantine", "delete"], Expects('"quarantine" or "delete"')] = "quarantine"
    digest_keys: Texts = ("sha256", "checksum")

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.early and not any(rule.allowed_types or rule.type_agrees for rule in self.rules):
            raise ValueError(
                "validation.early is true, but no rule asks for types: "
                "give one allowed_types or type_agrees, or set validation.early to false"
            )
        return self


class PublishingSettings(Section):
    """Where finished uploads appear under names for people."""

    directory: Text = ""
    pattern: Annotated[str, AfterValidator(check_pattern), Expects("a relative path with fields in braces")] = (
        "{yyyy}/{mm}/{filename}"
    )
    mode: Annotated[Literal["link", "copy"], Expects('"link" or "copy"')] = "link"
