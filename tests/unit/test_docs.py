"""The docs tell all that there is: settings, refusals, metrics, hooks, commands; and their links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.core
import typer.main

from tusd_py.cli import app
from tusd_py.model.hooks import Hook
from tusd_py.protocol.errors import TusError
from tusd_py.settings.loading import sections
from tusd_py.web import errors
from tusd_py.web.metrics import ServerMetrics

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://github.com/tusd-py/tusd-py"
PAPERS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def text(name: str) -> str:
    return (ROOT / name).read_text()


def settings_as_rows() -> Iterator[str]:
    """The rows of ``docs/settings.md`` that ``config.toml`` makes."""
    section = ""
    words: list[str] = []
    for line in text("config.toml").splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section, words = header[1], []
        elif line.startswith("# "):
            words.append(line[2:])
        elif setting := re.match(r"([a-z_]+) = (.+)", line):
            default = "see config.toml" if setting[2] == "[" else setting[2]
            yield f"| `{section}.{setting[1]}` | `{default}` | {' '.join(words)} |"
            words = []


def refusals(kind: type[TusError] = TusError) -> Iterator[type[TusError]]:
    for refusal in kind.__subclasses__():
        # Tests of other modules may have made refusals of their own by now.
        if refusal.__module__.startswith("tusd_py."):
            yield refusal
            yield from refusals(refusal)


def test_every_setting_stands_in_the_docs() -> None:
    """``docs/settings.md`` is the table of ``config.toml``, row by row."""
    assert list(settings_as_rows()) == re.findall(r"^\| `.*", text("docs/settings.md"), re.M)
    assert len(list(settings_as_rows())) == sum(len(kind.model_fields) for kind in sections().values())


def test_every_refusal_stands_in_the_docs() -> None:
    """``docs/errors.md`` has a row for each status and code, and none that does not exist."""
    assert errors.TABLE, "those refusals are counted too"
    rows = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \| .+ \|$", text("docs/errors.md"), re.M))
    assert {(str(refusal.status), refusal.code) for refusal in refusals()} == rows


def test_every_metric_stands_in_the_docs() -> None:
    """``docs/operations.md`` names every metric that the server tells, and none that it does not."""
    told = set(re.findall(r"^# TYPE (\w+)", ServerMetrics().exposition().decode(), re.M))
    named = set(re.findall(r"`(tusd_[a-z_]+)(?:\{[a-z,]+\})?`", text("docs/operations.md"))) - {"tusd_py"}
    assert told == named


def test_every_hook_stands_in_the_docs() -> None:
    """``docs/library.md`` has a row for each hook."""
    assert [hook.value for hook in Hook] == re.findall(r"^\| `([a-z-]+)` \|", text("docs/library.md"), re.M)


@pytest.mark.parametrize("paper", ["README.md", "docs/operations.md"])
def test_every_command_stands_in_the_docs(paper: str) -> None:
    """Each command of the program is told of, and no other."""
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    assert set(command.commands) == set(re.findall(r"tusd-py ([a-z]+)", text(paper)))


def test_every_word_of_the_makefile_that_is_told_exists() -> None:
    """No paper tells of a word that make does not know."""
    known = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.M))
    for paper in PAPERS:
        assert set(re.findall(r"`make ([a-z-]+)", paper.read_text())) <= known, paper.name


def links(paper: Path) -> list[str]:
    return re.findall(r"\]\(([^)#]+)", paper.read_text())


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_links_lead_somewhere(paper: Path) -> None:
    """A relative link, and an absolute one to a file of the repository, names a file that is there."""
    for target in links(paper):
        if own := re.match(rf"{REPOSITORY}/(?:blob|tree|raw)/main/(.*)", target):
            assert (ROOT / own[1]).exists(), target
        elif not target.startswith("http"):
            assert (paper.parent / target).exists(), target


def test_the_readme_works_on_an_index() -> None:
    """A package index shows the README without the repository around it: none of its links is relative."""
    assert [] == [target for target in links(ROOT / "README.md") if not target.startswith("https://")]


def test_the_readme_is_short() -> None:
    """Somebody who has never seen the project reads at most 150 lines."""
    assert 100 <= len(text("README.md").splitlines()) <= 150
