"""Reads settings from the configuration file, the environment and flags, in this order; the later source wins.

The environment is an argument: only entry points read ``os.environ``.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tusd_py.settings.endpoints import EndpointSettings
from tusd_py.settings.sections import Settings
from tusd_py.settings.values import DOCS, Confidential, Expects

PREFIX = "TUSD_PY_"
# Kubernetes and Docker links describe a service named tusd-py (or tusd-py-redis ...) by such variables.
_INJECTED = re.compile(
    r"TUSD_PY_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_INJECTED_URL = re.compile(r"TUSD_PY_(?:[A-Z0-9_]+_)?PORT")
CONFIG_VARIABLE = "TUSD_PY_CONFIG"
#: ``TUSD_PY_SECTION__KEY_FILE`` names a file with the value: container engines pass secrets as files.
_FILE = "_file"
_FILE_BYTES_MAX = 65536
EXIT_UNUSABLE = 2
#: Old names of settings. They are refused, so that no server starts with a setting that has no effect.
RENAMED = {"server.workers": "server.processes"}
#: The settings that are lists of tables, by their sections.
_TABLES = {"webhooks": "webhooks.endpoints"}
_TABLE_KEYS = frozenset(EndpointSettings.model_fields)


class SettingsError(ValueError):
    """The settings cannot be used; ``problems`` has one sentence for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Sourced:
    """A value and its origin: the path of a file, the name of a variable or a flag."""

    value: object
    origin: str


def sections() -> dict[str, type[BaseModel]]:
    """The classes of the sections by name, in the order of ``config.toml``."""
    found = {}
    for name, field in Settings.model_fields.items():
        assert isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        found[name] = field.annotation
    return found


def find_config(config: Path | None, environ: Mapping[str, str], directory: Path) -> Path | None:
    """The file to read: ``config``, else the one that ``TUSD_PY_CONFIG`` names, else ``config.toml`` if it exists."""
    if config is not None:
        return config
    if environ.get(CONFIG_VARIABLE):
        return Path(environ[CONFIG_VARIABLE])
    here = directory / "config.toml"
    return here if here.is_file() else None


def load(
    config: Path | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, Sourced] | None = None
) -> Settings:
    """Read and check the settings. Raises ``SettingsError`` with all mistakes, not only the first one."""
    return build(read(config, environ or {}, flags or {}))


def load_or_exit(
    environ: Mapping[str, str], config: Path | None = None, flags: Mapping[str, Sourced] | None = None
) -> Settings:
    """Load the settings of this process from the working directory's sources; every entry point calls this once.

    With mistakes in them, write one sentence for each to standard error and exit with code 2.
    """
    try:
        return load(find_config(config, environ, Path()), environ, flags)
    except SettingsError as error:
        exit_with(error.problems)


def exit_with(problems: list[str]) -> NoReturn:
    """Write one line for each problem to standard error and exit with code 2: the operator must fix something."""
    sys.stderr.writelines(f"tusd-py: {problem}\n" for problem in problems)
    sys.exit(EXIT_UNUSABLE)


def read(config: Path | None, environ: Mapping[str, str], flags: Mapping[str, Sourced]) -> dict[str, Sourced]:
    """Return the values that were set, by name (``server.port``); they are not checked yet.

    Raises ``SettingsError`` for unknown names and for a file that cannot be read, then also with the invalid values.
    """
    problems: list[str] = []
    return _known((*_from_file(config, problems), *_from_environment(environ, problems), *flags.items()), problems)


def build(sourced: Mapping[str, Sourced]) -> Settings:
    """Check the values and build the settings. Raises ``SettingsError`` with every mistake that can be found.

    Combinations of settings of several sections are only looked at if each value is valid by itself.
    """
    problems: list[str] = []
    try:
        settings = Settings.model_validate(_as_tree(sourced), context=problems)
    except ValidationError as error:
        raise SettingsError([*_sentences(error.errors(), sourced), *problems]) from None
    if problems:
        raise SettingsError(problems)
    return settings


def from_mapping(tables: Mapping[str, Mapping[str, object]], origin: str) -> Settings:
    """Check and build settings given as sections of values, as in the file. Raises ``SettingsError``."""
    problems: list[str] = []
    return build(_known(_from_tables(tables, origin, problems), problems))


def _known(values: Iterable[tuple[str, Sourced]], problems: list[str]) -> dict[str, Sourced]:
    """The values by name. Raises ``SettingsError`` if there are problems, or names of no setting.

    The error then also has the sentences about the values of the other settings: an operator corrects all at once.
    """
    sourced: dict[str, Sourced] = {}
    for name, value in values:
        section, _, key = name.partition(".")
        if key in sections()[section].model_fields:
            sourced[name] = value
        else:
            problems.append(_unknown(name, value.origin))
    if problems:
        raise SettingsError([*problems, *_invalid(sourced)])
    return sourced


def _invalid(sourced: Mapping[str, Sourced]) -> list[str]:
    """The sentences about single values. Those about several may be wrong while one of the settings is unknown."""
    try:
        Settings.model_validate(_as_tree(sourced), context=[])
    except ValidationError as error:
        return _sentences([details for details in error.errors() if len(details["loc"]) > 1], sourced)
    return []


def _as_tree(sourced: Mapping[str, Sourced]) -> dict[str, dict[str, object]]:
    tree: dict[str, dict[str, object]] = {}
    for name, value in sourced.items():
        section, _, key = name.partition(".")
        tree.setdefault(section, {})[key] = value.value
    return tree


def _sentences(errors: Iterable[ErrorDetails], sourced: Mapping[str, Sourced]) -> list[str]:
    return list(dict.fromkeys(_sentence(details, sourced) for details in errors))


def _from_file(config: Path | None, problems: list[str]) -> Iterator[tuple[str, Sourced]]:
    if config is None:
        return
    text = ""
    try:
        text = config.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        problems.append(f"the configuration file {config} cannot be read: {error.strerror}")
        return
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = _list_and_tables(text) or f"is not TOML: {error}"
        problems.append(f"the configuration file {config} {reason}")
        return
    yield from _from_tables(tables, str(config), problems)


def _from_tables(tables: Mapping[str, object], origin: str, problems: list[str]) -> Iterator[tuple[str, Sourced]]:
    for section, table in tables.items():
        if section not in sections():
            problems.append(_unknown(section, origin))
        elif not isinstance(table, Mapping):
            problems.append(_not_a_table(section, table, origin))
        else:
            yield from ((f"{section}.{key}", Sourced(value, origin)) for key, value in table.items())


def _not_a_table(section: str, value: object, origin: str) -> str:
    tables = _TABLES.get(section)
    if tables is not None and isinstance(value, list):
        return f"[[{section}]] in {origin} is not a setting; write [[{tables}]] above each of them"
    return f"{section} in {origin} must be a table: write [{section}] above its settings"


def _list_and_tables(text: str) -> str:
    """What is wrong if a list of tables is also set as a plain list, which TOML does not allow; else empty."""
    for section, key in re.findall(r"^\s*\[\[\s*(\w+)\.(\w+)\s*\]\]", text, re.MULTILINE):
        for line in text.splitlines():
            if line.partition("=")[0].strip() == key and "=" in line:
                return f"has both {line.strip()!r} and [[{section}.{key}]]: remove the first"
    return ""


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> Iterator[tuple[str, Sourced]]:
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        section, _, key = variable.removeprefix(PREFIX).lower().partition("__")
        if section not in sections() or not key:
            if _is_injected(variable, environ[variable]):
                continue
            problems.append(_unknown(f"{section}.{key}" if key else section, variable))
            continue
        text: str | None = environ[variable]
        if _names_a_file(section, key):
            key = key.removesuffix(_FILE)
            direct = variable[: -len(_FILE)]
            if direct in environ:
                problems.append(f"{direct} and {variable} are both set: set only one of them")
                continue
            text = _content(environ[variable], variable, problems)
        if text is not None:
            yield f"{section}.{key}", Sourced(_from_text(section, key, text), variable)


def _names_a_file(section: str, key: str) -> bool:
    """Whether ``key`` is that of a setting and ``_file``, and no setting itself."""
    keys = sections()[section].model_fields
    return key not in keys and key.endswith(_FILE) and key.removesuffix(_FILE) in keys


def _content(path: str, variable: str, problems: list[str]) -> str | None:
    """The text of the file without the end of its last line, or None and a problem."""
    try:
        with open(path, "rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
        if len(data) <= _FILE_BYTES_MAX:
            return data.decode().removesuffix("\n").removesuffix("\r")
        reason = f"it has more than {_FILE_BYTES_MAX} bytes"
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    problems.append(f"the file {path} ({variable}) cannot be read: {reason}")
    return None


def injected(environ: Mapping[str, str]) -> list[str]:
    """The variables with our prefix that describe a service and are ignored."""
    return sorted(variable for variable, value in environ.items() if _is_injected(variable, value))


def _is_injected(variable: str, value: str) -> bool:
    section, _, key = variable.removeprefix(PREFIX).lower().partition("__")
    if key and section in sections():
        return False
    is_url = value.startswith(("tcp://", "udp://", "sctp://"))
    return _INJECTED.fullmatch(variable) is not None or (is_url and _INJECTED_URL.fullmatch(variable) is not None)


def _from_text(section: str, key: str, text: str) -> object:
    """Parse the text of a variable: lists are comma-separated, or JSON."""
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
    if name in RENAMED:
        return f"{name} ({origin}) was renamed to {RENAMED[name]}: use {_spelled_as(origin, RENAMED[name])}"
    return f"{name} ({origin}) is not a setting; {_advice(name)}"


def _advice(name: str) -> str:
    """The setting, section or list of tables that is probably meant."""
    section, _, key = name.partition(".")
    if key and (tables := _TABLES.get(section)) and key in _TABLE_KEYS:
        return f"did you mean {key} within [[{tables}]]?"
    # A section within another one, as in [storage.s3], or a setting above all sections.
    if key in sections():
        return f"did you mean [{key}]?"
    names = [f"{section}.{key}" for section, kind in sections().items() for key in kind.model_fields]
    if not key and (same := [each for each in names if each.partition(".")[2] == name]):
        return f"did you mean {' or '.join(same)}?"
    near = difflib.get_close_matches(name, [*sections(), *names], n=1)
    return f"did you mean {near[0]}?" if near else "see tusd-py config --default"


def _spelled_as(origin: str, name: str) -> str:
    """The name as it is written at ``origin``: as a flag, as a variable, or in a file."""
    if origin.startswith("--"):
        return flag_of(name)
    return f"{PREFIX}{name.replace('.', '__').upper()}" if origin.startswith(PREFIX) else name


def flag_of(name: str) -> str:
    """The flag of a setting: its key with dashes, such as ``--data-dir``."""
    section, _, key = name.partition(".")
    return "--" + (f"log-{key}" if section == "log" else key).replace("_", "-")


def _sentence(details: ErrorDetails, sourced: Mapping[str, Sourced]) -> str:
    """Describe one mistake: the setting, its value and origin, and what is allowed."""
    loc = details["loc"]
    cause = details.get("ctx", {}).get("error")
    name = f"{loc[0]}.{loc[1]}"
    value = sourced[name]
    if len(loc) > 3:
        return _within_a_table(details, value)
    words = str(cause) if isinstance(cause, ValueError) else _expected(sections()[str(loc[0])], str(loc[1]))
    if is_confidential(name):
        return f"{name} ({value.origin}) must be {words}"
    return f"{name} is {without_credentials(repr(value.value))} ({value.origin}); it must be {words}"


def _within_a_table(details: ErrorDetails, sourced: Sourced) -> str:
    """Describe a mistake in one table of a list. The values are not repeated: the table may contain secrets."""
    section, key, number, field = details["loc"][:4]
    name = f"{section}.{key}, number {int(number) + 1}: {field}"
    cause = details.get("ctx", {}).get("error")
    if details["type"] == "missing":
        return f"{name} ({sourced.origin}) is missing"
    if details["type"] == "extra_forbidden":
        return f"{name} ({sourced.origin}) is not a setting; see {DOCS}/hooks.md"
    return f"{name} ({sourced.origin}) must be {cause if isinstance(cause, ValueError) else details['msg']}"


def without_credentials(text: str) -> str:
    """Remove the passwords of URLs in ``text``, for logs and screens."""
    # The password stands before the host, up to the last @; libpq and redis-py also read one from the query, and that
    # of a client key.
    return re.sub(r"([?&](?:ssl_?)?password=)[^&\s'\"]*", r"\1...", re.sub(r"//[^/\s]*@", "//...@", text))


def is_confidential(name: str) -> bool:
    """Whether the value of the setting ``section.key`` is never shown."""
    section, _, key = name.partition(".")
    return any(isinstance(item, Confidential) for item in sections()[section].model_fields[key].metadata)


def describe_database(settings: Settings) -> str:
    """Where the database is, for logs and screens: without a password."""
    return settings.database_path or without_credentials(settings.records.url).partition("?")[0]


def _expected(section: type[BaseModel], key: str) -> str:
    return [item.words for item in section.model_fields[key].metadata if isinstance(item, Expects)][-1]
