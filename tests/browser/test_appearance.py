"""How the page looks and reads: languages, the operator's title, logo and colour, phones, and what axe finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser.upload_page import PHONE, UploadPage, visit
from tests.support.content import MIB, content
from tests.support.server import RunningServer, start_server

LOGO = b"<svg xmlns='http://www.w3.org/2000/svg' width='80' height='40'><path fill='#00695c' d='M0 0h80v40H0z'/></svg>"


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the operator's title, logo and a colour that is too light for text, and a limit of size."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "logo.svg").write_bytes(LOGO)
    settings = {
        "PAGE__TITLE": "M\u00fcller & Co",
        "PAGE__LOGO": str(folder / "logo.svg"),
        "PAGE__COLOUR": "#FFD400",
        "UPLOADS__LENGTH_MAX": "5GiB",
    }
    server = start_server(folder / "data", settings=settings)
    try:
        yield server
    finally:
        server.stop()


def upload_and_stay_busy(page: UploadPage, folder: Path) -> None:
    """One file is in the list of uploaded ones, and another is being uploaded."""
    (folder / "first note.txt").write_bytes(bytes(content(1, 2000)))
    page.choose(folder / "first note.txt")
    page.wait_for_uploaded(1)
    page.throttle(2 * MIB)
    (folder / "film.mp4").write_bytes(bytes(content(2, 20 * MIB)))
    page.choose(folder / "film.mp4")
    page.wait_until_sent(1)


@pytest.mark.parametrize(
    ("locale", "title", "browse", "uploading", "uploaded"),
    [
        ("de-AT", "Dateien hochladen", "Dateien ausw\u00e4hlen", "Eine Datei wird hochgeladen", "Hochgeladen (1)"),
        (
            "fr",
            "T\u00e9l\u00e9verser des fichiers",
            "choisissez des fichiers",
            "T\u00e9l\u00e9versement de 1 fichier",
            "T\u00e9l\u00e9vers\u00e9s (1)",
        ),
        ("es", "Upload files", "browse files", "Uploading 1 file", "Uploaded (1)"),
    ],
)
def test_page_is_in_the_language_of_the_browser(
    browser: Browser,
    server: RunningServer,
    tmp_path: Path,
    locale: str,
    title: str,
    browse: str,
    uploading: str,
    uploaded: str,
) -> None:
    """The page and Uppy's own texts are in the visitor's language, without a barrier."""
    with visit(browser, server, locale=locale) as page:
        expect(page.tab.get_by_role("heading", name=title, exact=True)).to_be_visible()
        expect(page.tab.get_by_role("button", name=browse, exact=True)).to_be_visible()
        upload_and_stay_busy(page, tmp_path)
        expect(page.tab.get_by_text(uploading, exact=True)).to_be_visible()
        expect(page.tab.get_by_role("heading", name=uploaded, exact=True)).to_be_visible()
        assert [] == page.barriers()


@pytest.mark.parametrize("locale", ["de", "fr"])
def test_every_text_of_uppy_is_translated(browser: Browser, server: RunningServer, locale: str) -> None:
    """No text of the parts of Uppy that the page uses is left in English for want of a translation."""
    with visit(browser, server, locale=locale) as page:
        missing = page.tab.evaluate(
            """async () => {
              const folder = new URL('.', document.querySelector('script[type=module]').src)
              const { Uppy, Dashboard } = await import(new URL('vendor/uppy.min.mjs', folder))
              const { uppyLocale } = await import(new URL('texts.mjs', folder))
              const { strings } = await uppyLocale()
              const uppy = new Uppy()
              uppy.use(Dashboard)
              const defaults = { ...uppy.defaultLocale.strings, ...uppy.getPlugin('Dashboard').defaultLocale.strings }
              return Object.keys(defaults).filter((key) => !(key in strings))
            }"""
        )
    # Texts of sources of files that the page does not have.
    assert UNUSED_TEXTS >= set(missing)


UNUSED_TEXTS = {
    *("additionalRestrictionsFailed", "addedNumFiles", "authAborted", "loadedXFiles", "logIn", "noSearchResults"),
    *("pickFiles", "pickPhotos", "pleaseWait", "resetSearch", "search", "searchImages", "signInWithGoogle"),
}


def test_title_logo_and_colour(browser: Browser, own_server: RunningServer, tmp_path: Path) -> None:
    """The operator's title, picture and colour are on the page, in light and dark, and every text is legible."""
    for scheme in ("light", "dark"):
        with visit(browser, own_server, color_scheme=scheme) as page:
            expect(page.tab).to_have_title("M\u00fcller & Co")
            expect(page.tab.get_by_role("heading", name="M\u00fcller & Co")).to_be_visible()
            logo = page.tab.locator("header img")
            assert 80 == logo.evaluate("async (image) => { await image.decode(); return image.naturalWidth }")
            upload_and_stay_busy(page, tmp_path)
            assert [] == page.barriers()


def test_server_with_a_missing_logo_does_not_start(tmp_path: Path) -> None:
    """A wrong path is told at the start, not to visitors."""
    with pytest.raises(RuntimeError, match=r"page\.logo: No such file or directory: none\.svg"):
        start_server(tmp_path / "data", settings={"PAGE__LOGO": "none.svg"})


def test_phone_has_one_large_button(browser: Browser, own_server: RunningServer, tmp_path: Path) -> None:
    """On a phone one large button in the middle chooses files; nothing is to be dropped, and every target is large."""
    with visit(browser, own_server, **PHONE) as page:
        button = page.tab.locator(".uppy-Dashboard-AddFiles").get_by_role("button")
        expect(button).to_have_text("Choose files")
        expect(page.tab.get_by_text("Drop files")).to_have_count(0)
        expect(page.tab.get_by_text("Files up to 5 GB")).to_be_visible()
        inner, box = rectangle(page.tab.locator(".uppy-Dashboard-inner")), rectangle(button)
        assert box["height"] >= 48
        assert box["width"] >= 240
        assert centre(box, "x", "width") == pytest.approx(centre(inner, "x", "width"), abs=2)
        assert centre(box, "y", "height") == pytest.approx(centre(inner, "y", "height"), abs=60)
        with page.tab.expect_file_chooser():
            button.tap()
        upload_and_stay_busy(page, tmp_path)
        assert [] == page.small_targets()
        assert [] == page.barriers()
        width = page.tab.evaluate("document.documentElement.scrollWidth")
        assert 390 == width


def rectangle(locator: Locator) -> dict[str, float]:
    box = locator.bounding_box()
    assert box is not None
    return {"x": box["x"], "y": box["y"], "width": box["width"], "height": box["height"]}


def centre(box: dict[str, float], start: str, extent: str) -> float:
    return box[start] + box[extent] / 2


def test_targets_are_large_enough_for_a_pointer(page: UploadPage, tmp_path: Path) -> None:
    """On a desktop every button and link is at least 24 pixels wide and high, and axe finds no barrier."""
    assert [] == page.small_targets()
    assert [] == page.barriers()
    upload_and_stay_busy(page, tmp_path)
    assert [] == page.small_targets()
    assert [] == page.barriers()
