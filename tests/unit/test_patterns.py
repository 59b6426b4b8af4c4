"""Every regular expression of the product takes linear time, whatever a client sends."""

from __future__ import annotations

import ast
import importlib
import re
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
#: Importing them has effects: they start a program, or belong to the tool that makes migrations.
NOT_IMPORTED = {"tusd_py/__main__.py", "workers/__main__.py", "workers/dramatiq_entry.py"}
PUMPED = 8000
#: A pattern that takes quadratic time needs more than this for ``PUMPED`` characters; a linear one a hundredth of it.
SECONDS_MAX = 0.02
ALPHABET = [chr(code) for code in (9, *range(32, 127), 0xE9)]
SUFFIXES = ("", "\0", " a b", '"', "\\")

Pattern = re.Pattern[str] | re.Pattern[bytes]
_parser: Any = importlib.import_module("re._parser")


def module_files() -> Iterator[Path]:
    for path in sorted([*ROOT.glob("tusd_py/**/*.py"), *ROOT.glob("workers/**/*.py")]):
        if path.relative_to(ROOT).as_posix() not in NOT_IMPORTED and "migrations" not in path.parts:
            yield path


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """The calls of functions of ``re`` in a module, by name."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=function)):
                yield function, node


def collect() -> dict[str, Pattern]:
    """Every pattern by its place: compiled at module level, in a tuple there, or a literal in a call."""
    found: dict[str, Pattern] = {}
    for path in module_files():
        name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for attribute, value in vars(importlib.import_module(name)).items():
            for index, each in enumerate(value if isinstance(value, tuple) else (value,)):
                if isinstance(each, re.Pattern):
                    found[f"{name}.{attribute}[{index}]"] = each
        for function, call in calls(path):
            if function != "compile" and isinstance(call.args[0], ast.Constant):
                found[f"{name}:{call.lineno} re.{function}"] = re.compile(str(call.args[0].value))
    return found


PATTERNS = collect()


def samples(tokens: Any, chosen: int) -> str:
    """A text that nearly matches ``tokens``; ``chosen`` selects branches, and whether optional tokens are present."""
    text = ""
    for opcode, argument in tokens:
        match str(opcode):
            case "LITERAL":
                text += chr(argument)
            case "NOT_LITERAL" | "ANY" | "IN":
                text += next((each for each in reversed(ALPHABET) if matches(opcode, argument, each)), "")
            case "BRANCH":
                text += samples(argument[1][chosen % len(argument[1])], chosen)
            case "SUBPATTERN":
                text += samples(argument[3], chosen)
            case "ATOMIC_GROUP":
                text += samples(argument, chosen)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                text += samples(argument[2], chosen) * max(argument[0], 1 - chosen % 2)
    return text


def matches(opcode: Any, argument: Any, character: str) -> bool:
    """Whether a token for one character matches ``character``."""
    code = ord(character)
    match str(opcode):
        case "LITERAL":
            return bool(code == argument)
        case "NOT_LITERAL":
            return bool(code != argument)
        case "RANGE":
            return bool(argument[0] <= code <= argument[1])
        case "CATEGORY":
            name = str(argument).lower()
            is_member = character.isspace() if "space" in name else character.isalnum() or character == "_"
            return is_member != ("not" in name)
        case "IN":
            is_negated = str(argument[0][0]) == "NEGATE"
            return is_negated != any(matches(each[0], each[1], character) for each in argument[is_negated:])
    return True


def character_tokens(tokens: Any) -> Iterator[tuple[Any, Any]]:
    for opcode, argument in tokens:
        match str(opcode):
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
                yield opcode, argument
            case "BRANCH":
                for branch in argument[1]:
                    yield from character_tokens(branch)
            case "SUBPATTERN":
                yield from character_tokens(argument[3])
            case "ATOMIC_GROUP":
                yield from character_tokens(argument)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                yield from character_tokens(argument[2])


def bodies(tokens: Any) -> Iterator[str]:
    """A text for each repeated group, in each of its forms."""
    for opcode, argument in tokens:
        match str(opcode):
            case "BRANCH":
                for branch in argument[1]:
                    yield from bodies(branch)
            case "SUBPATTERN":
                yield from bodies(argument[3])
            case "ATOMIC_GROUP":
                yield from bodies(argument)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                yield from (samples(argument[2], chosen) for chosen in range(3))
                yield from bodies(argument[2])


def adversarial_texts(pattern: Pattern) -> Iterator[str]:
    """Every beginning of what the pattern matches, then one character or group again and again, then a mismatch."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tokens = _parser.parse(source, pattern.flags & ~re.UNICODE)
    sets = list(character_tokens(tokens))
    # Characters that no token of the pattern tells apart are equal: one of each kind is enough.
    kinds = {
        tuple(matches(opcode, argument, character) for opcode, argument in sets): character for character in ALPHABET
    }
    whole = samples(tokens, 0)
    pumps = {*kinds.values(), *bodies(tokens), whole[: len(whole) // 2], whole} - {""}
    matched = {samples(tokens, chosen) for chosen in range(10)}
    prefixes = {text[:length] for text in matched for length in range(min(len(text), 40) + 1)}
    for prefix, pump, suffix in product(sorted(prefixes), sorted(pumps), SUFFIXES):
        yield prefix + pump * (PUMPED // len(pump)) + suffix


def seconds(work: Callable[[], object]) -> float:
    """The processor time of ``work``: the least of three, if it is long."""
    least = float("inf")
    for _ in range(3):
        before = time.thread_time()
        work()
        least = min(least, time.thread_time() - before)
        if least < SECONDS_MAX:
            break
    return least


def slow_text(pattern: Pattern, *, scans: bool) -> str | None:
    """The first text for which ``pattern`` takes too long."""
    for text in adversarial_texts(pattern):
        value: Any = text if isinstance(pattern.pattern, str) else text.encode("latin-1")
        if seconds(lambda value=value: pattern.fullmatch(value)) > SECONDS_MAX:  # type: ignore[misc]
            return text
        if scans and seconds(lambda value=value: list(pattern.finditer(value))) > SECONDS_MAX:  # type: ignore[misc]
            return text
    return None


def scanned(place: str) -> bool:
    """Whether the pattern at ``place`` is searched for at every position of a text."""
    module, _, name = place.rpartition(".")
    if " " in place:
        return name not in ("match", "fullmatch")
    source = (ROOT / module.replace(".", "/")).with_suffix(".py")
    text = source.read_text() if source.exists() else ""
    return re.search(rf"\b{name.partition('[')[0]}\.(finditer|findall|sub|subn|split|search)\b", text) is not None


def test_the_test_sees_what_is_slow() -> None:
    """The pattern by which one metadata value once stopped the worker for 0.6 seconds, and other slow kinds.

    A pattern that takes exponential time runs into the time limit of the tests.
    """
    for source in (r"(md5|sha-?1)\s*[:= -]\s*(\S+)", "x*x*y", "[ab]+[bc]+d", r"a=(\w+\.?)\w*;"):
        assert slow_text(re.compile(source), scans=False) is not None, source
    assert slow_text(re.compile("[ ]+x"), scans=False) is None
    assert slow_text(re.compile("[ ]+x"), scans=True) is not None


def test_every_pattern_is_known_to_this_test() -> None:
    """A pattern that is compiled while a request is answered would be missed: it belongs to its module."""
    assert len(PATTERNS) > 40
    assert [] == [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in module_files()
        for function, call in calls(path)
        if function not in ("compile", "escape") and not isinstance(call.args[0], ast.Constant)
    ]


@pytest.mark.parametrize("place", sorted(PATTERNS))
def test_pattern_takes_linear_time(place: str) -> None:
    """No beginning, repetition and end makes the pattern go back and try again over the whole text."""
    text = slow_text(PATTERNS[place], scans=scanned(place))
    assert text is None, f"{place} is slow for {text[:40]!r}...{text[-10:]!r}"
