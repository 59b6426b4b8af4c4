"""Reads settings: the configuration file, over it the environment, over it flags. What each means is told elsewhere.

Nothing is read that the caller did not hand over: the environment is an argument.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tusd_py.settings.sections import Settings
from tusd_py.settings.values import DOCS, Allowed

PREFIX = "TUSD_PY_"
CONFIG_VARIABLE = "TUSD_PY_CONFIG"


class SettingsError(Exception):
    """Settings that cannot be used; ``problems`` has a sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Given:
    """A value that somebody set, and where: a file, a variable, a flag."""

    value: object
    origin: str


def sections() -> dict[str, type[BaseModel]]:
    """The sections by name, in the order of the reference."""
    found = {}
    for name, field in Settings.model_fields.items():
        assert isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        found[name] = field.annotation
    return found


def find_config(config: Path | None, environ: Mapping[str, str], directory: Path) -> Path | None:
    """The file to read: the one named, else the one ``TUSD_PY_CONFIG`` names, else ``config.toml`` if it is there."""
    if config is not None:
        return config
    if environ.get(CONFIG_VARIABLE):
        return Path(environ[CONFIG_VARIABLE])
    here = directory / "config.toml"
    return here if here.is_file() else None


def load(
    config: Path | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, Given] | None = None
) -> Settings:
    """The settings. Raises ``SettingsError`` with everything that is wrong with them, not only the first."""
    return build(read(config, environ or {}, flags or {}))


def read(config: Path | None, environ: Mapping[str, str], flags: Mapping[str, Given]) -> dict[str, Given]:
    """What was set, by name (``server.port``), not yet checked; flags win over variables, those over the file.

    Raises ``SettingsError`` about names that are no setting and a file that cannot be read.
    """
    problems: list[str] = []
    given: dict[str, Given] = {}
    for name, value in (*_from_file(config, problems), *_from_environment(environ, problems), *flags.items()):
        section, _, key = name.partition(".")
        if key not in sections()[section].model_fields:
            problems.append(_unknown(name, value.origin))
        given[name] = value
    if problems:
        raise SettingsError(problems)
    return given


def build(given: Mapping[str, Given]) -> Settings:
    """The settings these values make. Raises ``SettingsError``."""
    tree: dict[str, dict[str, object]] = {}
    for name, value in given.items():
        section, _, key = name.partition(".")
        tree.setdefault(section, {})[key] = value.value
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        sentences = [_sentence(details, given) for details in error.errors()]
        raise SettingsError(list(dict.fromkeys(sentences))) from None


def _from_file(config: Path | None, problems: list[str]) -> Iterator[tuple[str, Given]]:
    if config is None:
        return
    try:
        tables = tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"the configuration file {config} cannot be read: {error.strerror}")
        return
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"the configuration file {config} is not TOML: {error}")
        return
    for section, table in tables.items():
        if section not in sections():
            problems.append(_unknown(section, str(config)))
        elif not isinstance(table, dict):
            problems.append(f"{section} in {config} must be a table: write [{section}] above its settings")
        else:
            yield from ((f"{section}.{key}", Given(value, str(config))) for key, value in table.items())


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> Iterator[tuple[str, Given]]:
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        section, _, key = variable.removeprefix(PREFIX).lower().partition("__")
        if section not in sections() or not key:
            problems.append(_unknown(f"{section}.{key}" if key else section, variable))
        else:
            yield f"{section}.{key}", Given(_from_text(section, key, environ[variable]), variable)


def _from_text(section: str, key: str, text: str) -> object:
    """The value that a variable's text means: lists are divided by commas, or written as in JSON."""
    field = sections()[section].model_fields.get(key)
    if field is None or not isinstance(field.default, tuple):
        return int(text) if key == "gone_status" and text.isdecimal() else text
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    return [item.strip() for item in text.split(",") if item.strip()]


def _unknown(name: str, origin: str) -> str:
    names = [*sections(), *(f"{section}.{key}" for section, kind in sections().items() for key in kind.model_fields)]
    near = difflib.get_close_matches(name, names, n=1)
    advice = f"did you mean {near[0]}?" if near else "see tusd-py config --default"
    return f"{name} ({origin}) is not a setting; {advice}"


def _sentence(details: ErrorDetails, given: Mapping[str, Given]) -> str:
    """One mistake in words: the setting, what it has and from where, and what is allowed."""
    loc = details["loc"]
    cause = details.get("ctx", {}).get("error")
    if len(loc) < 2:
        return str(cause)  # settings that do not agree with each other: the check says all of it
    name = f"{loc[0]}.{loc[1]}"
    value = given[name]
    if len(loc) > 3:
        return _within_a_table(details, value)
    words = str(cause) if isinstance(cause, ValueError) else _allowed(sections()[str(loc[0])], str(loc[1]))
    return f"{name} is {without_credentials(repr(value.value))} ({value.origin}); it must be {words}"


def _within_a_table(details: ErrorDetails, given: Given) -> str:
    """A mistake in one table of a list. Values are not repeated: next to it stand secrets."""
    section, key, number, field = details["loc"][:4]
    name = f"{section}.{key}, number {int(number) + 1}: {field}"
    cause = details.get("ctx", {}).get("error")
    if details["type"] == "missing":
        return f"{name} ({given.origin}) is missing"
    if details["type"] == "extra_forbidden":
        return f"{name} ({given.origin}) is not a setting; see {DOCS}/hooks.md"
    return f"{name} ({given.origin}) must be {cause if isinstance(cause, ValueError) else details['msg']}"


def without_credentials(text: str) -> str:
    """``text`` with the passwords of URLs in it left out: screens and logs are shown to others."""
    # Before the host, up to the last @; a Redis takes its password from the query as well.
    return re.sub(r"([?&]password=)[^&\s'\"]*", r"\1...", re.sub(r"//[^/\s]*@", "//...@", text))


def _allowed(section: type[BaseModel], key: str) -> str:
    return [item.words for item in section.model_fields[key].metadata if isinstance(item, Allowed)][-1]
