"""Builds the documentation site with Sphinx (``make docs``). The reasons for Sphinx are in CONTRIBUTING.md."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

project = "tusd-py"
author = "the tusd-py contributors"
copyright = author
version = release = version_of("tusd-py")

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
extensions = ["myst_parser", "sphinx.ext.autodoc", "generated"]
# README.md is what GitHub shows of this directory; the site has it within index.rst.
exclude_patterns = ["README.md"]
myst_heading_anchors = 4
# JSON with an ellipsis in it is no JSON.
suppress_warnings = ["misc.highlighting_failure"]
# Quotation marks around values, as in "::", stay as they are written.
smartquotes = False
python_maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "undoc-members": True}

html_theme = "pydata_sphinx_theme"
html_title = "tusd-py"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "github_url": "https://github.com/tusd-py/tusd-py",
    "navbar_align": "left",
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "article_header_start": [],
    "footer_start": ["copyright"],
    "footer_end": [],
}

DOCS = Path(__file__).parent
FILES = f"{html_theme_options['github_url']}/blob/main"


def link_to_repository(app: Sphinx, name: str, parts: list[str]) -> None:
    """Replace links to files outside of docs/, which are no pages of the site, by links to the repository."""
    folder = (DOCS / name).parent

    def replaced(match: re.Match[str]) -> str:
        target = (folder / match[1]).resolve()
        if target.is_relative_to(DOCS):
            return match[0]
        if not target.exists():
            logging.getLogger(__name__).warning("link to %s, which does not exist", match[1], location=name)
        return f"]({FILES}/{target.relative_to(DOCS.parent)}"

    parts[0] = re.sub(r"\]\((\.\./[^)#\s]+)", replaced, parts[0])


def setup(app: Sphinx) -> None:
    """Connect the function above."""
    app.connect("source-read", link_to_repository)
