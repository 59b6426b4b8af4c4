"""The rules of the project that a program can check: sizes, names, docstrings, the tree of tests, and lock files."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from pydantic import BaseModel

from tusd_py.settings import Settings

ROOT = Path(__file__).parents[2]
MODULE_LINES_MAX = 450
TEST_MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
BROAD = {"Exception", "BaseException"}
BANNED_NAMES = {"utils", "helpers", "common", "base", "core", "manager", "misc", "types"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
IGNORED_FOLDERS = {"node_modules", "__pycache__", "versions"}
#: The only unit tests without a module of their name.
TESTS_WITHOUT_A_MODULE = {
    "test_benchmarks.py",  # the package benchmarks
    "test_docs.py",
    "test_patterns.py",  # every regular expression of the product
    "test_tidy.py",
    "protocol/test_bad_input.py",  # every parser, with one collection of malformed requests
    "web/test_attached_body.py",  # of web/request_body.py, what only our own server offers
}
#: Passed on as a whole, with the names of its fields: a field that the receiver does not have is an error there.
SECTIONS_PASSED_WHOLE = {"cors"}
USERS_OF_THE_DEFAULT_EXECUTOR = (
    "tusd_py/wiring/databases.py",
    "tusd_py/wiring/ports.py",
    "tusd_py/records/sql/database.py",
)
#: The modules that get settings; all other packages get plain arguments.
SETTINGS_READERS = (
    "tusd_py/*.py",
    "tusd_py/commands/**/*.py",
    "tusd_py/wiring/*.py",
    "tusd_py/serving/**/*.py",
    "tusd_py/hooks/**/*.py",
    "workers/*.py",
)


def modules(*folders: str) -> list[Path]:
    found = [path.relative_to(ROOT) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if not any(part in IGNORED_FOLDERS or part.startswith(".") for part in path.parts)]


PRODUCT = modules("tusd_py", "workers")
EVERYTHING = modules("tusd_py", "workers", "tests", "benchmarks")


def parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def functions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_module_length() -> None:
    """A module has at most 450 lines, a module of tests at most 500."""
    long = {
        str(path): lines
        for path in EVERYTHING
        if (lines := len((ROOT / path).read_text().splitlines()))
        > (TEST_MODULE_LINES_MAX if path.parts[0] == "tests" else MODULE_LINES_MAX)
    }
    assert long == {}


def test_function_length() -> None:
    """A function has at most 60 lines."""
    assert [] == [
        f"{path}: {node.name}"
        for path in EVERYTHING
        for node in functions(parsed(path))
        if (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX
    ]


def test_module_docstrings() -> None:
    """Every module that is not empty begins with a docstring."""
    assert [] == [path for path in EVERYTHING if (tree := parsed(path)).body and not ast.get_docstring(tree)]


def test_test_docstrings() -> None:
    """Every test states the fact that it checks in a docstring."""
    assert [] == [
        f"{path}: {node.name}"
        for path in EVERYTHING
        if path.name.startswith("test_")
        for node in functions(parsed(path))
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]


def test_file_names() -> None:
    """No module has a name that says nothing about its content, such as ``utils``."""
    assert [] == [path for path in EVERYTHING if path.stem in BANNED_NAMES]


def test_the_default_executor_is_for_the_start_only() -> None:
    """Everything shares it: a name server or a disk that does not answer would stop what has nothing to do with it."""
    found = [
        f"{path}:{number}"
        for path in PRODUCT
        if path.as_posix()
        not in ("tusd_py/wiring/ports.py", "tusd_py/wiring/databases.py", "tusd_py/records/sql/database.py")
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if re.search(r"to_thread\(|run_in_executor\(None|loop\(\)\.getaddrinfo|run_sync\(", line)
    ]
    assert [] == found


def test_class_names_are_unique() -> None:
    """No two classes of the product have the same name, not even private ones in different modules."""
    places = defaultdict(list)
    for path in PRODUCT:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path))
    assert {} == {name: paths for name, paths in places.items() if len(paths) > 1}


def test_unit_tests_mirror_the_tree() -> None:
    """``tests/unit/web/test_cors.py`` covers the module ``tusd_py/web/cors.py``, and so on for every file."""
    without = set()
    for path in sorted((ROOT / "tests" / "unit").rglob("test_*.py")):
        name = path.relative_to(ROOT / "tests" / "unit")
        module = name.with_name(name.name.removeprefix("test_")).with_suffix("")
        roots = [ROOT] if name.parts[0] == "workers" else [ROOT / "tusd_py"]
        if not any((root / module).with_suffix(".py").exists() or (root / module).is_dir() for root in roots):
            without.add(str(name))
    assert TESTS_WITHOUT_A_MODULE == without


def settings_by_name() -> list[tuple[str, str]]:
    sections = [(name, field.default) for name, field in Settings.model_fields.items()]
    return [
        (name, key)
        for name, section in sections
        if isinstance(section, BaseModel) and name not in SECTIONS_PASSED_WHOLE
        for key in type(section).model_fields
    ]


@pytest.mark.parametrize(("section", "key"), settings_by_name())
def test_every_setting_is_read(section: str, key: str) -> None:
    """Each setting is read by name somewhere; some are read through a property."""
    through = {("records", "url"): "database_path", ("worker", "broker"): "broker_url"}
    name = through.get((section, key), key)
    readers = [path for glob in SETTINGS_READERS for path in ROOT.glob(glob)]
    in_steps = f'"{section}.{key}"' in (ROOT / "tusd_py/model/steps.py").read_text()
    assert in_steps or any(re.search(rf"\b\w+\.{name}\b", path.read_text()) for path in readers)


def test_no_todo_comments() -> None:
    """Work that is left to do is an issue, not a comment."""
    here = Path(__file__).relative_to(ROOT)
    assert [] == [path for path in EVERYTHING if path != here and UNFINISHED.search((ROOT / path).read_text())]


def test_broad_except_clauses() -> None:
    """``except Exception`` raises again, or has a comment that says why it is the outermost handler."""
    swallowed = []
    for path in PRODUCT:
        text = (ROOT / path).read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ExceptHandler) and ast.unparse(node.type or ast.Name("Exception")) in BROAD:
                lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
                if not isinstance(node.body[-1], ast.Raise) and "outermost" not in "\n".join(lines):
                    swallowed.append(f"{path}:{node.lineno}")
    assert [] == swallowed


def test_missing_programs_fail_in_ci() -> None:
    """A test that needs a program asks for it by ``tests/support/programs.py``, so that it never skips in CI."""
    skips = re.compile(r"""pytest\.skip\(f?["'][^"']*not installed|skipif\(\s*shutil\.which\([^)]*\) is None,""")
    here = Path(__file__).relative_to(ROOT)
    tests = [path for path in EVERYTHING if path.parts[0] == "tests" and path != here]
    assert [] == [path for path in tests if skips.search((ROOT / path).read_text())]


def test_lock_files_match_the_requirements() -> None:
    """Each requirement of ``pyproject.toml`` is in its lock file, with a version that satisfies it and hashes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    runtime, build = project["project"]["dependencies"], groups["build"]
    development = [*runtime, *build, *(item for item in groups["dev"] if isinstance(item, str))]
    locks = {"requirements.lock": runtime, "requirements-build.lock": build, "requirements-dev.lock": development}
    for file, wanted in locks.items():
        text = (ROOT / file).read_text()
        locked = dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", text, re.M))
        assert len(locked) <= text.count("--hash=sha256:")
        for requirement in map(Requirement, wanted):
            name = requirement.name.lower().replace("_", "-")
            assert name in locked, f"{file} lacks {name}: make lock"
            assert requirement.specifier.contains(Version(locked[name])), f"{file} has {name} {locked[name]}: make lock"


def test_lock_files_agree() -> None:
    """``make run`` and ``make bench`` install several of them together, which pip refuses if two versions differ."""
    versions: dict[str, dict[str, set[str]]] = {}
    for file in sorted(ROOT.glob("requirements*.lock")):
        for name, version in re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", file.read_text(), re.M):
            versions.setdefault(name, {}).setdefault(file.name, set()).add(version)
    assert {} == {
        name: locks for name, locks in versions.items() if len({frozenset(each) for each in locks.values()}) > 1
    }
