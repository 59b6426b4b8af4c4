"""Formats values of settings as TOML for the terminal, without secrets; of tables only the values that were set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass

from pydantic import BaseModel

from tusd_py.settings import Settings, without_credentials
from tusd_py.settings.loading import is_confidential


def toml_text(value: object) -> str:
    """The value as it could stand in a configuration file, in one line, without passwords."""
    if isinstance(value, str):
        return json.dumps(without_credentials(value), ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_text, value))}]"
    if isinstance(value, BaseModel) or is_dataclass(value):
        value = dict(_set_fields(value))
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{key} = {toml_text(each)}" for key, each in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return str(value)


def differs(settings: Settings, name: str) -> bool:
    """Whether the setting has another value than its default."""
    return _value_of(settings, name) != _value_of(Settings(), name)


def as_text(settings: Settings, name: str) -> str:
    """The setting's value as an operator writes it in the file, without passwords."""
    value = _value_of(settings, name)
    return '"..."' if value and is_confidential(name) else toml_text(value)


def _value_of(settings: Settings, name: str) -> object:
    """The value of ``section.key``."""
    section, _, key = name.partition(".")
    value: object = getattr(getattr(settings, section), key)
    return value


def _set_fields(table: object) -> Iterator[tuple[str, object]]:
    """The fields of one table that differ from their defaults; of secrets only that they are set."""
    if isinstance(table, BaseModel):
        described = [
            (name, field.get_default(call_default_factory=True), field.repr)
            for name, field in type(table).model_fields.items()
        ]
    else:
        assert is_dataclass(table)
        described = [
            (each.name, each.default_factory() if each.default_factory is not MISSING else each.default, each.repr)
            for each in fields(table)
        ]
    for name, default, is_shown in described:
        value = getattr(table, name)
        if value == default:
            continue
        if not is_shown:
            yield name, ["..."] * len(value) if isinstance(value, tuple) else "..."
        elif name == "url":
            yield name, value.partition("?")[0]
        else:
            yield name, value
