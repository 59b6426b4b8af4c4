"""The settings of what workers do with complete uploads: examining them by rules, and publishing them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, TypeAdapter, ValidationError, model_validator

from tusd_py.model.validation_rule import ValidationRule
from tusd_py.settings.values import DOCS, Allowed, Section, Size, Switch, Text

_FIELD = re.compile(r"\{([^{}]*)\}")
#: What a pattern of published names may hold in braces.
PATTERN_FIELDS = ("id", "filename", "stem", "extension", "owner", "yyyy", "mm", "dd")

Texts = Annotated[tuple[str, ...], Allowed("a list of text")]
Patterns = Annotated[tuple[str, ...], Allowed("a list of patterns such as image/*")]


#: The keys of one rule, with what the configuration may hold for each; the defaults are those of the rule itself.
_RULE_KEYS: Mapping[str, Any] = {
    "name": Text,
    "types": Patterns,
    "files": Patterns,
    "owners": Patterns,
    "metadata": Annotated[Mapping[str, str], Allowed("a table of patterns by the key of the metadata")],
    "size_min": Size,
    "size_max": Size,
    "extensions": Annotated[tuple[str, ...], Allowed('a list of extensions such as ["png", "jpg"]')],
    "allowed_types": Patterns,
    "type_agrees": Switch,
    "csv": Switch,
}
_ADAPTERS: Mapping[str, TypeAdapter[Any]] = {key: TypeAdapter(kind) for key, kind in _RULE_KEYS.items()}


def parse_rules(value: object) -> tuple[ValidationRule, ...]:
    """Tables as rules. Raises ``ValueError`` that names the first bad rule and what is wrong with it."""
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
            raise ValueError(f"{key} is no key of a rule")
        try:
            values[key] = _ADAPTERS[key].validate_python(value)
        except ValidationError:
            allowed = [item for item in get_args(_RULE_KEYS[key]) if isinstance(item, Allowed)]
            raise ValueError(f"{key} must be {allowed[-1].words}") from None
    rule = ValidationRule(**values)
    if rule.size_max and rule.size_max < rule.size_min:
        raise ValueError("size_max is less than size_min")
    return rule


def check_pattern(value: str) -> str:
    """A relative path with fields in braces, in which no two uploads of different names need share one."""
    segments = value.split("/")
    fields = set(_FIELD.findall(value))
    is_plain = not set(_FIELD.sub("", value)) & set('{}\\:*?"<>|\0') and value.isprintable()
    if not is_plain or not fields <= set(PATTERN_FIELDS) or any(part.strip() in ("", ".", "..") for part in segments):
        names = " ".join(f"{{{name}}}" for name in PATTERN_FIELDS)
        raise ValueError(f"a relative path such as {{owner}}/{{yyyy}}/{{mm}}/{{filename}}, of {names}")
    return value


class Validation(Section):
    """What uploads this server wants, and what becomes of the others."""

    enabled: Switch = False
    early: Switch = False
    rules: Annotated[tuple[ValidationRule, ...], BeforeValidator(parse_rules), Allowed("a list of rules")] = ()
    unmatched: Annotated[Literal["allow", "reject"], Allowed('"allow" or "reject"')] = "allow"
    rejected: Annotated[Literal["quarantine", "delete"], Allowed('"quarantine" or "delete"')] = "quarantine"
    digest_keys: Texts = ("sha256", "checksum")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.early and not any(rule.checks_type for rule in self.rules):
            raise ValueError(
                "validation.early is true, but no rule asks for types: "
                "give one allowed_types or type_agrees, or set validation.early to false"
            )
        return self


class Publishing(Section):
    """Where finished uploads appear under names for people."""

    directory: Text = ""
    pattern: Annotated[str, AfterValidator(check_pattern), Allowed("a relative path with fields in braces")] = (
        "{yyyy}/{mm}/{filename}"
    )
    mode: Annotated[Literal["link", "copy"], Allowed('"link" or "copy"')] = "link"
