"""The docs list every setting, refusal, metric, hook, command and layer; the files and names they mention exist."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest
import typer.core
import typer.main

import tusd_py
from tusd_py.cli import app
from tusd_py.model.hooks import Hook
from tusd_py.protocol import access_errors, concat_errors
from tusd_py.protocol.errors import TusError
from tusd_py.settings.loading import sections
from tusd_py.web import errors
from tusd_py.web.metrics import ServerMetrics

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://github.com/tusd-py/tusd-py"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def text(name: str) -> str:
    return (ROOT / name).read_text()


def settings_as_rows() -> Iterator[str]:
    """The rows of ``docs/settings.md``, derived from ``config.toml``."""
    section = ""
    comment: list[str] = []
    for line in text("config.toml").splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section, comment = header[1], []
        elif line.startswith("# "):
            comment.append(line[2:])
        elif setting := re.match(r"([a-z_]+) = (.+)", line):
            default = "see config.toml" if setting[2] == "[" else setting[2]
            yield f"| `{section}.{setting[1]}` | `{default}` | {' '.join(comment)} |"
            comment = []


#: The modules that define refusals: a class exists only once its module is imported.
ERROR_MODULES = (errors, access_errors, concat_errors)


def refusals(kind: type[TusError] = TusError) -> Iterator[type[TusError]]:
    for refusal in kind.__subclasses__():
        # Other tests may define refusals of their own.
        if refusal.__module__.startswith("tusd_py."):
            yield refusal
            yield from refusals(refusal)


def test_settings_are_documented() -> None:
    """``docs/settings.md`` is the table of ``config.toml``, row by row."""
    assert list(settings_as_rows()) == re.findall(r"^\| `.*", text("docs/settings.md"), re.M)
    assert len(list(settings_as_rows())) == sum(len(kind.model_fields) for kind in sections().values())


def test_refusals_are_documented() -> None:
    """``docs/errors.md`` has a row for each status and code, and none that does not exist."""
    assert errors.TABLE, "those refusals are counted too"
    rows = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \| .+ \|$", text("docs/errors.md"), re.M))
    assert {(str(refusal.status), refusal.code) for refusal in refusals()} == rows


def exposed_metrics() -> set[str]:
    return set(re.findall(r"^# TYPE (\w+)", ServerMetrics().exposition().decode(), re.M))


@pytest.mark.parametrize("document", ["alerts.yml", "dashboard.json"])
def test_monitoring_uses_metrics_that_exist(document: str) -> None:
    """Every metric in the alert rules and the dashboard is one that the server has."""
    names = set(re.findall(r"\b((?:tusd|process)_\w+)", text(f"docs/monitoring/{document}")))
    assert len(names) > 8
    assert set() == {re.sub("_(?:bucket|sum|count)$", "", name) for name in names} - exposed_metrics()


def test_dashboard_is_json_with_a_query_in_each_panel() -> None:
    """Grafana can import the dashboard."""
    dashboard = json.loads(text("docs/monitoring/dashboard.json"))
    assert all(panel["targets"] and panel["title"] for panel in dashboard["panels"])


def test_metrics_are_documented() -> None:
    """``docs/operations.md`` names every metric of the server, and no other."""
    exposed = {name for name in exposed_metrics() if name.startswith("tusd_")}
    named = set(re.findall(r"`(tusd_[a-z_]+)(?:\{[a-z,]+\})?`", text("docs/operations.md"))) - {"tusd_py"}
    assert exposed == named


def test_hooks_are_documented() -> None:
    """``docs/library.md`` has a row for each hook."""
    assert [hook.value for hook in Hook] == re.findall(r"^\| `([a-z-]+)` \|", text("docs/library.md"), re.M)


def test_public_names_are_documented() -> None:
    """``docs/python-api.rst`` has each name of ``tusd_py.__all__``."""
    assert set(tusd_py.__all__) == set(
        re.findall(r"^\.\. autoclass:: tusd_py\.(\w+)(?![\w.])", text("docs/python-api.rst"), re.M)
    )


def test_commands_are_documented() -> None:
    """``docs/operations.md`` names each command of the program, and no other; ``README.md`` names no other."""
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    name = r"tusd-py ([a-z][a-z0-9]*(?:-[a-z]+)*)"
    assert set(command.commands) == set(re.findall(name, text("docs/operations.md")))
    assert set(command.commands) >= set(re.findall(f"^{name}", text("README.md"), re.M))


def test_documented_make_targets_exist() -> None:
    """Every ``make`` target in the documentation is in the Makefile."""
    known = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.M))
    for document in DOCUMENTS:
        assert set(re.findall(r"`make ([a-z-]+)", document.read_text())) <= known, document.name


def test_hops_and_new_names_exist() -> None:
    """Every ``module:name`` in ``docs/architecture.md`` and ``docs/renamed.md`` is importable."""
    pages = text("docs/architecture.md") + text("docs/renamed.md")
    names = re.findall(r"`((?:tusd_py|workers)[\w.]*:[\w.]+)`", pages)
    assert len(names) > 150
    for name in names:
        resolve_name(name)


def test_renamed_modules_exist_under_their_new_names_only() -> None:
    """In the table of renamed modules every new name is a module, and no old name is one, except as a package."""
    table = text("docs/renamed.md").partition("## Modules")[2].partition("##")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| (.+) \|$", table, re.M)
    assert len(rows) > 90
    for old, new in rows:
        assert not (ROOT / f"{old.replace('.', '/')}.py").exists(), old
        for module in re.findall(r"`([\w.]+)`", new):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__init__.py").exists(), module


def test_layers_are_documented() -> None:
    """The picture of the layers in ``docs/architecture.md`` is import-linter's contract, from the top down."""
    contracts = tomllib.loads(text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    picture = text("docs/architecture.md").split("```")[1].splitlines()[2:]
    for layer, line in zip(layers, picture, strict=True):
        assert re.match(rf"(?:layer \d)? +{re.escape(layer)}(?: |$)", line), line


def links(document: Path) -> list[str]:
    return re.findall(r"\]\(([^)#]+)", document.read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_name_existing_files(document: Path) -> None:
    """The target of a relative link, and of a link to a file of the repository, exists."""
    for target in links(document):
        if own := re.match(rf"{REPOSITORY}/(?:blob|tree|raw)/main/(.*)", target):
            assert (ROOT / own[1]).exists(), target
        elif not target.startswith("http"):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_settings_in_examples_exist(document: Path) -> None:
    """Every TOML block of a page names sections and keys of ``config.toml`` only."""
    for block in re.findall(r"^```toml\n(.*?)^```", document.read_text(), re.M | re.S):
        for section, values in tomllib.loads(block).items():
            if section in sections():
                assert set(values) <= set(sections()[section].model_fields), (section, block)
            else:
                assert section in {"project", "tool"}, block


def test_readme_has_absolute_links() -> None:
    """A package index shows ``README.md`` without the repository, so its links are absolute."""
    assert [] == [target for target in links(ROOT / "README.md") if not target.startswith("https://")]


def test_readme_length() -> None:
    """``README.md`` is short: what it is and why, how to begin, and links."""
    assert 80 <= len(text("README.md").splitlines()) <= 120
