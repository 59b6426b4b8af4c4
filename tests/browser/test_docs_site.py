"""The documentation site (``make docs``): it builds strictly, has each page once, and is searched without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Request

from tests.support.programs import skip_unless_ci
from tusd_py.cli import COMMANDS
from tusd_py.web.metrics import ServerMetrics

DOCS = Path(__file__).parents[2] / "docs"


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build ``source`` as ``make docs`` does."""
    if find_spec("sphinx") is None:
        skip_unless_ci("Sphinx is not installed (make docs)")
    options = ["--quiet", "--fail-on-warning", "--keep-going"]
    command = [sys.executable, "-m", "sphinx", *options, str(source), str(site)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    built = build(DOCS, folder)
    assert 0 == built.returncode, built.stderr
    return folder


def test_site_has_every_page_in_its_navigation(site: Path) -> None:
    """The build has no warning, so no page is outside of the navigation; each Markdown file is a page."""
    pages = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")} - {Path("README")}
    assert len(pages) > 20
    assert set() == {page for page in pages if not (site / page).with_suffix(".html").exists()}


def test_reference_has_every_command_and_metric(site: Path) -> None:
    """Their pages are made from the program."""
    commands = (site / "commands.html").read_text()
    assert set() == {name for name in COMMANDS if f'id="tusd-py-{name}"' not in commands}
    assert "tusd-py jobs retry" in commands
    metrics = (site / "metrics.html").read_text()
    exposed = re.findall(r"^# TYPE (\w+)", ServerMetrics().exposition().decode(), re.M)
    assert set() == {name for name in exposed if f">{name}<" not in metrics}


def test_broken_references_fail_the_build(tmp_path: Path) -> None:
    """Links to pages, anchors, files and pictures that do not exist are errors."""
    source = tmp_path / "docs"
    (source / "_static").mkdir(parents=True)
    shutil.copy(DOCS / "conf.py", source)
    shutil.copytree(DOCS / "_ext", source / "_ext")
    (source / "other.md").write_text("---\norphan: true\n---\n# Other\n")
    references = ["[](a1.md)", "[](#a2)", "[](other.md#a3)", "[](../a4.py)", "![](a5.png)"]
    (source / "index.md").write_text("# Index\n\n" + "\n".join(references))
    built = build(source, tmp_path / "site")
    assert 0 != built.returncode
    assert [] == [name for name in ("a1", "a2", "a3", "a4", "a5") if name not in built.stderr], built.stderr


def test_overview_lists_the_pages_of_the_navigation() -> None:
    """``docs/README.md``, which GitHub shows, has the titles and pages of the site's sections in their order."""
    overview = (DOCS / "README.md").read_text()
    sections = re.findall(r"^## (.+)\n((?:.*\n)*?)(?=## |\Z)", overview, re.M)
    listed = {title: re.findall(r"^- \[(.+)\]\((.+)\.\w+\)", text, re.M) for title, text in sections}
    navigation = {}
    for name in re.findall(r"^   ([a-z-]+)$", (DOCS / "index.rst").read_text(), re.M):
        text = (DOCS / f"{name}.rst").read_text()
        navigation[text.splitlines()[0]] = re.findall(r"^   (.+) <(.+)>$", text, re.M)
    assert navigation == listed


@pytest.mark.parametrize("width", [1280, 390])
def test_site_works_from_files_without_a_network(site: Path, browser: Browser, width: int) -> None:
    """The search finds a setting; nothing is requested from elsewhere; no page is wider than a phone."""
    with browser.new_context(viewport={"width": width, "height": 844}) as context:
        tab = context.new_page()
        requested: list[str] = []

        def note(request: Request) -> None:
            requested.append(request.url)

        tab.on("request", note)
        tab.goto(f"{site.as_uri()}/search.html?q=length_max")
        tab.get_by_role("link", name="Settings").first.wait_for()
        for page in ("index", "settings", "hooks", "python-api", "architecture"):
            tab.goto(f"{site.as_uri()}/{page}.html")
            assert width >= tab.evaluate("document.documentElement.scrollWidth"), page
        assert requested
        assert [] == [url for url in requested if not url.startswith(site.as_uri())]
