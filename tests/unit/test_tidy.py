"""The house rules that a program can check: sizes, docstrings, names, and locks that fit the project."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LINES_OF_A_MODULE = 450
LINES_OF_TESTS = 500
LINES_OF_A_FUNCTION = 60
BROAD = {"Exception", "BaseException"}
BANNED_NAMES = {"utils", "helpers", "common", "base", "core", "manager", "misc", "types"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
IGNORED_FOLDERS = {"node_modules", "__pycache__", "versions"}


def modules(*folders: str) -> list[Path]:
    found = [path.relative_to(ROOT) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if not any(part in IGNORED_FOLDERS or part.startswith(".") for part in path.parts)]


PRODUCT = modules("tusd_py", "workers")
EVERYTHING = modules("tusd_py", "workers", "tests", "benchmarks")


def parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def functions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_a_module_is_small() -> None:
    """A module has at most 450 lines, one of tests and their cases at most 500."""
    long = {
        str(path): lines
        for path in EVERYTHING
        if (lines := len((ROOT / path).read_text().splitlines()))
        > (LINES_OF_TESTS if path.parts[0] == "tests" else LINES_OF_A_MODULE)
    }
    assert long == {}


def test_a_module_says_what_belongs_in_it() -> None:
    """A module that holds anything opens with a docstring."""
    assert [] == [path for path in EVERYTHING if (tree := parsed(path)).body and not ast.get_docstring(tree)]


def test_a_function_is_short() -> None:
    """A function has at most 60 lines."""
    assert [] == [
        f"{path}: {node.name}"
        for path in EVERYTHING
        for node in functions(parsed(path))
        if (node.end_lineno or 0) - node.lineno >= LINES_OF_A_FUNCTION
    ]


def test_a_test_states_its_fact() -> None:
    """Every test has a docstring: the fact that holds."""
    assert [] == [
        f"{path}: {node.name}"
        for path in EVERYTHING
        if path.name.startswith("test_")
        for node in functions(parsed(path))
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]


def test_files_are_named_for_what_they_hold() -> None:
    """No file is a drawer for what fits nowhere else."""
    assert [] == [path for path in EVERYTHING if path.stem in BANNED_NAMES]


def test_nothing_is_left_for_later() -> None:
    """What is to be done stands in an issue, not in the code."""
    here = Path(__file__).relative_to(ROOT)
    assert [] == [path for path in EVERYTHING if path != here and UNFINISHED.search((ROOT / path).read_text())]


def test_nothing_broad_is_swallowed() -> None:
    """``except Exception`` raises again, or says beneath it that it is the outermost handler."""
    swallowed = []
    for path in PRODUCT:
        text = (ROOT / path).read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ExceptHandler) and ast.unparse(node.type or ast.Name("Exception")) in BROAD:
                lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
                if not isinstance(node.body[-1], ast.Raise) and "outermost" not in "\n".join(lines):
                    swallowed.append(f"{path}:{node.lineno}")
    assert [] == swallowed


def test_the_locks_are_those_of_the_project() -> None:
    """Each requirement of ``pyproject.toml`` stands in its lock file, with a version that satisfies it and hashes."""
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
