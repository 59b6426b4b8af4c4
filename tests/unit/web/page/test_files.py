"""The page in its languages, and what the settings change in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tusd_py.model.quota import Quota
from tusd_py.web.page.accepted import AcceptedFiles
from tusd_py.web.page.files import MEDIA_TYPES, PageFiles, PageOptions, prepare
from tusd_py.web.page.logo import Logo
from tusd_py.web.page.routes import DIRECTORY

ROOT = Path(__file__).parents[4]
SOURCES = {
    path.relative_to(DIRECTORY).as_posix(): path.read_bytes()
    for path in DIRECTORY.rglob("*")
    if path.suffix in MEDIA_TYPES
}
TEXTS = {path.stem: json.loads(path.read_text()) for path in sorted((DIRECTORY / "texts").glob("*.json"))}
LANGUAGES = sorted(TEXTS)


def prepared(**options: Any) -> PageFiles:
    return prepare(SOURCES, PageOptions(endpoint="/files/", **options))


def page(language: str = "en", **options: Any) -> str:
    return prepared(**options).indexes[language].body.decode()


def data(html: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', html, re.DOTALL)
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


def test_english_comes_first() -> None:
    """English comes first: it is for visitors who want none of the others."""
    assert ("en", "de", "fr") == prepared().languages


@pytest.mark.parametrize("language", LANGUAGES)
def test_keys_of_the_texts_agree(language: str) -> None:
    """Every language has the same texts, with the same fields and the same forms for one and for several."""
    texts, english = TEXTS[language]["page"], TEXTS["en"]["page"]
    assert list(english) == list(texts)
    for name, expected in english.items():
        assert fields(expected) == fields(texts[name]), name


def fields(text: str | dict[str, str]) -> object:
    if isinstance(text, dict):
        # The form for one may do without the number.
        return {"one", "other"} == set(text), set(re.findall(r"\{\w+\}", text["other"]))
    return set(re.findall(r"\{\w+\}", text))


def test_refusals_are_told_in_every_other_language() -> None:
    """The server's own sentences are English; German and French have sentences for the same codes, which all exist."""
    documented = set(re.findall(r"`(ERR_[A-Z_]+)`", (ROOT / "docs" / "errors.md").read_text()))
    assert {} == TEXTS["en"]["refusals"]
    assert list(TEXTS["de"]["refusals"]) == list(TEXTS["fr"]["refusals"])
    assert set(TEXTS["de"]["refusals"]) <= documented


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_of_uppy_keep_their_fields(language: str) -> None:
    """A text that replaces one of Uppy's has the fields of the English one."""
    for name, text in TEXTS[language]["uppy"].items():
        expected = TEXTS["en"]["uppy"].get(name)
        if expected is not None:
            assert re.findall(r"%\{\w+\}", str(expected)) == re.findall(r"%\{\w+\}", str(text)), name


def test_texts_that_the_scripts_name_exist() -> None:
    """Each text in HTML and in the scripts is one of the file, and each of the file is used."""
    scripts = "".join(body.decode() for name, body in SOURCES.items() if name.endswith(".mjs") and "/" not in name)
    names = set(re.findall(r"'(\w+)'", scripts)) | set(
        re.findall(r"\{\{text\.(\w+)\}\}", SOURCES["index.html"].decode())
    )
    # Named by what the server says: the kinds of files, and the quotas.
    made = {f"types_{kind}" for kind in ("image", "video", "audio", "text")} | {f"quota_{quota}" for quota in Quota}
    assert set(TEXTS["en"]["page"]) - {"title"} <= names | made
    assert made <= set(TEXTS["en"]["page"])
    called = set(re.findall(r"\btext\('(\w+)'", scripts))
    assert called <= set(TEXTS["en"]["page"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_is_in_its_language(language: str) -> None:
    """The language is declared, its texts are in the page and reach the scripts; no placeholder is left."""
    html = page(language)
    assert f'<html lang="{language}">' in html
    assert f"<h1>{TEXTS[language]['page']['title']}</h1>" in html
    assert language == data(html)["language"]
    assert TEXTS[language] == data(html)["texts"]
    assert "{{" not in html


@pytest.mark.parametrize("language", ["de", "fr"])
def test_texts_of_uppy_are_preloaded(language: str) -> None:
    """The pack of Uppy's texts is a file of the page, which the browser requests before the scripts ask for it."""
    pack = f"vendor/{TEXTS[language]['uppy_locale']}.mjs"
    assert f'<link rel="modulepreload" href="./page/{prepared().digest}/{pack}">' in page(language)
    assert pack in prepared().named


def test_every_module_is_preloaded() -> None:
    """The browser requests all modules at once, and not each when another one names it."""
    for name in SOURCES:
        if name.endswith(".mjs") and not name.startswith("vendor/d") and not name.startswith("vendor/f"):
            assert f'<link rel="modulepreload" href="./page/{prepared().digest}/{name}">' in page()


def test_title_replaces_the_one_of_the_language() -> None:
    """The operator's title is the heading in every language, escaped."""
    for language in LANGUAGES:
        html = page(language, title="Müller & <Söhne>")
        assert "<title>Müller &amp; &lt;Söhne&gt;</title>" in html
        assert "<h1>Müller &amp; &lt;Söhne&gt;</h1>" in html


def test_logo_replaces_the_picture() -> None:
    """The operator's picture stands in the heading and in the browser's tab, with its type."""
    files = prepared(logo=Logo(b"picture", ".png"))
    html = files.indexes["en"].body.decode()
    assert 2 == html.count(f"./page/{files.digest}/logo.png")
    assert '<link rel="icon" type="image/png"' in html
    assert b"picture" == files.named["logo.png"].body


def test_colour_adds_a_style_sheet() -> None:
    """The operator's colour is in a file of its own after the others, because the policy forbids styles in the page."""
    files = prepared(colour="#00695c")
    html = files.indexes["en"].body.decode()
    assert html.index("colours.css") > html.index("dashboard.css")
    assert b"#00695c" in files.named["colours.css"].body
    assert b"#00695c" in files.named["icon.svg"].body
    assert "colours.css" not in page()
    assert "colours.css" not in prepared().named


def test_other_settings_have_other_paths() -> None:
    """A changed colour or logo is a file under a new path, so that browsers do not show a stored one."""
    digests = [prepared(**options).digest for options in ({}, {"colour": "#123"}, {"logo": Logo(b"1", ".svg")})]
    assert 3 == len(set(digests))


@pytest.mark.parametrize(
    ("length_max", "size_max", "expected"), [(0, 0, 0), (5, 0, 5), (0, 7, 7), (5, 7, 5), (7, 5, 5)]
)
def test_smallest_limit_is_told(length_max: int, size_max: int, expected: int) -> None:
    """Of the limits on the size of all uploads and of the rules the page has the smaller one."""
    found = data(page(length_max=length_max, accepted=AcceptedFiles(size_max=size_max)))
    assert expected == found["sizeMax"]


def test_data_is_safe_in_html() -> None:
    """A value cannot end the element that holds the data."""
    html = page(accepted=AcceptedFiles(types=("</script><b>",)))
    assert ["</script><b>"] == data(html)["types"]
    assert "</script><b>" not in html
